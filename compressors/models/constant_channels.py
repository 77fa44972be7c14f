"""Batch-norm channels without variance, which would enlarge rounding up to 300 times."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressors.base import Task, run
from compressors.models.calibration import calibration_batches, device_of
from compressors.models.hooks import forward_hooks

STEPS = 255
"""Steps of an 8-bit range: a channel that moves by less than one is constant."""


@dataclass(kw_only=True)
class _Span:
    """The values of one layer's output: the ends of each channel `[C]`."""

    low: Tensor
    high: Tensor

    def join(self, low: Tensor, high: Tensor) -> None:
        """Widen the span to further ends `[C]`."""
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)

    def constant(self) -> Tensor:
        """Return for each channel `[C]` whether 8 bits for the whole output tell no change."""
        width = self.high.max().clamp(min=0) - self.low.min().clamp(max=0)
        return self.high - self.low <= width / STEPS


def settle_constant_channels(model: nn.Module, task: Task) -> None:
    """Give constant channels of batch-norm layers their value as bias and 0 as scale, in place.

    Such a layer divides by the root of its variance plus epsilon, 1e-5 by default: where there is
    no variance, a change of its input by rounding comes out 316 times as large. A channel is
    constant if its variance is at most epsilon, and if its output on the calibration batches moves
    by less than a step of the layer's 8-bit range. Nothing is run without such a variance.

    Args:
        model: The model before its weights are rounded, in eval mode.
        task: The source of calibration batches.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    flat = [norm for norm in norms if _without_variance(norm).any()]
    for norm, span in _spans(model, flat, task).items():
        constant = _without_variance(norm) & span.constant()
        if constant.any():
            _settle(norm, constant, (span.low + span.high) / 2)


def _without_variance(norm: nn.Module) -> Tensor:
    """Return for each channel `[C]` whether its running variance is at most epsilon."""
    assert isinstance(norm, _BatchNorm)
    variance = norm.running_var
    return torch.zeros(1, dtype=torch.bool) if variance is None else variance <= norm.eps


def _spans(model: nn.Module, norms: list[_BatchNorm], task: Task) -> dict[nn.Module, _Span]:
    """Return the values that some layers of a model give on the calibration batches."""
    spans: dict[nn.Module, _Span] = {}

    def note(norm: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        low, high = output.transpose(0, 1).flatten(1).aminmax(dim=1)
        spans.setdefault(norm, _Span(low=low, high=high)).join(low, high)

    if norms:
        with forward_hooks(norms, note), torch.no_grad():
            for inputs in calibration_batches(task, device_of(model)):
                run(model, inputs)
    return spans


def _settle(norm: nn.Module, constant: Tensor, value: Tensor) -> None:
    """Have a layer return a value `[C]` in its constant channels `[C]`, whatever comes in."""
    assert isinstance(norm, _BatchNorm)
    if norm.weight is None:
        norm.affine = True
        norm.weight = nn.Parameter(torch.ones_like(value), requires_grad=False)
        norm.bias = nn.Parameter(torch.zeros_like(value), requires_grad=False)
    with torch.no_grad():
        norm.weight[constant] = 0
        norm.bias[constant] = value[constant]
