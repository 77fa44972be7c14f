"""The training loop: the only one, for recovery and for the tasks' own baselines."""

import math
import time
from collections.abc import Callable, Iterable, Sized
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import device_of, to_device
from compressors.models.copying import copy_model, refresh_recurrent_weights


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable[tuple[Any, ...]]],
    loss: Callable[..., Tensor],
    *,
    epochs: float,
    learning_rate: float,
    weight_decay: float = 0.0,
    steps_per_epoch: int | None = None,
    precision: torch.dtype = torch.float32,
    before_step: Callable[[float], None] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train a model in place with AdamW; it ends in eval mode.

    The learning rate rises over the first twentieth of the steps, then falls to zero along a
    cosine. Weight decay acts on parameters of at least two axes only.

    Args:
        model: Its parameters that require a gradient are trained, on the device they are on.
        batches: For an epoch, its batches: the inputs, then whatever the loss wants to know.
        loss: From the outputs and the rest of the batch, the mean loss of the batch.
        epochs: Passes over the data, the last maybe in part.
        learning_rate: The highest.
        weight_decay: Decoupled from the gradient (Loshchilov & Hutter, 2019, arXiv:1711.05101).
        steps_per_epoch: The number of batches; None to count them.
        precision: Of the forward pass, under autocast where it is not float32; parameters, loss
            and gradients of parameters stay in float32.
        before_step: Called before each step with the share of the training that is done.
        on_epoch: Called after each epoch with its number, from 0, and its mean loss.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    device = device_of(model)
    optimizer = _optimizer(model, learning_rate, weight_decay)
    total = math.ceil(epochs * (steps_per_epoch or _count(batches(0)))) if epochs else 0
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, total))
    laid_out = _runs_channels_last(model, batches(0), device)
    if laid_out:
        _lay_out(model, torch.channels_last)
    model.train()
    steps = 0
    for epoch in range(math.ceil(epochs)):
        losses: list[Tensor] = []
        for inputs, *rest in islice(batches(epoch), total - steps):
            if before_step is not None:
                before_step(steps / total)
            steps += 1
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                outputs = run(model, to_device(inputs, device))
            value = loss(_in_float32(outputs), *to_device(rest, device))
            if not torch.isfinite(value):
                raise FloatingPointError(
                    f"training loss is {value.item()} in epoch {epoch}, batch {len(losses)} "
                    f"(learning_rate {learning_rate:g})"
                )
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.step()
            losses.append(value.detach())
        if on_epoch is not None:
            on_epoch(epoch, float(torch.stack(losses).mean()))
    model.zero_grad()
    if laid_out:
        _lay_out(model, torch.contiguous_format)
    model.eval()
    refresh_recurrent_weights(model)


def _optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Lay the weights of two-dimensional convolutions out in memory."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(memory_format=layout)  # type: ignore[call-overload]


def _runs_channels_last(
    model: nn.Module, batches: Iterable[tuple[Any, ...]], device: torch.device
) -> bool:
    """Tell whether a model trains with channels last, which is the faster way on a CPU.

    A `view` of feature maps in a model's own code may not fit that layout.
    """
    if device.type != "cpu" or not any(
        isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in model.modules()
    ):
        return False
    probe = copy_model(model)
    _lay_out(probe, torch.channels_last)
    first = next(iter(batches), None)
    try:
        with torch.no_grad():
            if first is not None:
                run(probe, first[0])
    except RuntimeError:
        return False
    return True


def fastest_precision(
    model: nn.Module, inputs: Inputs, loss: Callable[[Any], Tensor], repeats: int = 3
) -> torch.dtype:
    """Return float32 or bfloat16, whichever trains this model faster on this machine.

    Args:
        model: It is copied, not changed.
        inputs: A batch.
        loss: From the outputs, the loss of the batch.
        repeats: Timed forward and backward passes of each, after one that is not timed; the least
            time counts.
    """
    device = device_of(model)
    probe = copy_model(model)
    if _runs_channels_last(probe, [(inputs,)], device):
        _lay_out(probe, torch.channels_last)
    probe.train().requires_grad_(True)
    least: dict[torch.dtype, float] = {}
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):  # dropout draws nothing from the training's own
        for precision in (torch.float32, torch.bfloat16):
            times = []
            for _ in range(repeats + 1):
                start = time.perf_counter()
                with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                    outputs = run(probe, to_device(inputs, device))
                loss(_in_float32(outputs)).backward()  # type: ignore[no-untyped-call]
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append(time.perf_counter() - start)
            least[precision] = min(times[1:])
    return min(least, key=lambda precision: least[precision])


def _in_float32(outputs: Any) -> Any:
    """Return outputs, or a tuple, list or mapping of them, with floats of 16 bits in 32."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    if isinstance(outputs, dict):
        return {name: _in_float32(item) for name, item in outputs.items()}
    if isinstance(outputs, tuple | list):
        return type(outputs)(_in_float32(item) for item in outputs)
    return outputs


def _count(batches: Iterable[tuple[Any, ...]]) -> int:
    return len(batches) if isinstance(batches, Sized) else sum(1 for _ in batches)


def _share(step: int, total: int) -> float:
    """Return the learning rate at a step as a share of the highest."""
    warm_up = max(1, total // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))
