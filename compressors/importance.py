"""How much a weight matters: its size, or its contribution to the output."""

import torch
from torch import Tensor, nn

from compressors.attention import plain_attention
from compressors.base import Task, run
from compressors.calibration import calibration_batches, device_of
from compressors.copying import copy_model

IMPORTANCES = ("magnitude", "contribution")


def magnitude(weight: Tensor) -> Tensor:
    """Return the absolute values of a weight, in its shape."""
    return weight.detach().abs()


def contribution(model: nn.Module, task: Task, samples: int = 256) -> dict[str, Tensor]:
    """Return what each parameter contributes to the output on calibration data.

    The contribution of a parameter w is the mean over batches of `|w * dE/dw|`, where E is half
    the squared norm of the model's output, a mean over the samples of the batch (Aljundi et al.,
    2018, arXiv:1711.09601). No targets are used.

    Returns:
        By the name of the parameter, a tensor of its shape. A weight under a mask has its score
        under the name of the stored parameter, and 0 where the mask is 0.
    """
    probe = copy_model(model).requires_grad_(True)
    parameters = dict(probe.named_parameters())
    scores = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    batches = 0
    # cuDNN has no backward pass for recurrent layers in eval mode.
    with plain_attention(), torch.backends.cudnn.flags(enabled=False), torch.enable_grad():
        for inputs in calibration_batches(task, device_of(probe), samples):
            probe.zero_grad()
            energy(run(probe, inputs)).backward()  # type: ignore[no-untyped-call]
            batches += 1
            for name, parameter in parameters.items():
                if parameter.grad is not None:
                    scores[name] += (parameter.detach() * parameter.grad).abs()
    if batches == 0:
        raise ValueError("task.train_batches(0) yields no batch to measure contributions on")
    return {name: score / batches for name, score in scores.items()}


def energy(outputs: object) -> Tensor:
    """Return half the squared norm of a model's outputs `[B, ...]`, a mean over the batch."""
    tensors = [t for t in output_tensors(outputs) if t.is_floating_point()]
    return torch.stack([t.square().sum() / (2 * t.shape[0]) for t in tensors]).sum()


def output_tensors(outputs: object) -> list[Tensor]:
    """Return the tensors of a model's outputs: one tensor, or a nesting of lists and mappings."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        return [tensor for item in outputs for tensor in output_tensors(item)]
    return []
