"""Floating-point precision of the forward pass in training."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import device_of, to_device
from compressors.models.copying import copy_model
from compressors.models.trainable import require_training_gradients
from compressors.outputs.structure import mapped
from compressors.training.memory_layout import fastest_layout

REPEATS = 3
"""Timed training steps per precision; the shortest time counts."""
LONG = 0.5
"""Seconds of a step from which on one tells enough."""


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Return the context for a forward pass in a precision; parameters stay in float32."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def in_float32(outputs: Any) -> Any:
    """Return outputs of any structure with all floating-point tensors, `[B, ...]`, as float32."""
    return mapped(outputs, lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)


def fastest_precision(
    model: nn.Module, inputs: Inputs, loss: Callable[[Any], Tensor]
) -> torch.dtype:
    """Return float32 or bfloat16, whichever trains this model faster on this machine.

    Args:
        model: It is copied, not changed.
        inputs: A batch `[B, ...]` on any device.
        loss: Returns the loss of the batch, a scalar, from the outputs.
    """
    seconds = seconds_by_precision(model, inputs, loss)
    return min(seconds, key=lambda precision: seconds[precision])


def seconds_by_precision(
    model: nn.Module, inputs: Inputs, loss: Callable[[Any], Tensor]
) -> dict[torch.dtype, float]:
    """Return the seconds of a step of training on one batch in float32 and in bfloat16.

    Args:
        model: It is copied, not changed.
        inputs: A batch `[B, ...]` on any device.
        loss: Returns the loss of the batch, a scalar, from the outputs.
    """
    device = device_of(model)
    there = to_device(inputs, device)

    def loss_in(precision: torch.dtype) -> Callable[[nn.Module], Tensor]:
        def loss_of(probe: nn.Module) -> Tensor:
            with autocast(device, precision):
                outputs = run(probe, there)
            return loss(in_float32(outputs))

        return loss_of

    precisions = (torch.float32, torch.bfloat16)
    return {
        precision: seconds_of_a_step(model, inputs, loss_in(precision)) for precision in precisions
    }


def seconds_of_a_step(
    model: nn.Module, inputs: Inputs, loss: Callable[[nn.Module], Tensor]
) -> float:
    """Return the shortest time of a forward and a backward pass.

    A short one is repeated, and the first then does not count.

    Args:
        model: It is copied, not changed.
        inputs: A batch `[B, ...]` on any device, for which the memory layout is chosen.
        loss: Returns the loss of a batch, a scalar, from a copy of the model in training mode.
    """
    device = device_of(model)
    probe = copy_model(model)
    devices = [device] if device.type == "cuda" else []
    times = []
    # Dropout in the probe must not advance the generator that the training draws from.
    layout = fastest_layout(probe, [to_device(inputs, device)])
    with torch.random.fork_rng(devices=devices), layout:
        require_training_gradients(probe.train())
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            loss(probe).backward()  # type: ignore[no-untyped-call]
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - start)
            if times[-1] >= LONG:
                break
    return min(times[1:] or times)
