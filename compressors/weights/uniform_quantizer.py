"""Uniform quantisation: a weight as integers times a scale, both trainable."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor, nn

from compressors.weights.encoded import CodedWeight
from compressors.weights.grid_fitting import IntegerGrid, fit_grid


class UniformQuantizer(nn.Module):
    """A parametrisation that rounds a weight to a grid of integers times a learned scale.

    The gradient passes the rounding as if it were not there and is zero where the weight is
    clipped. The gradient of the scale follows from that, divided by the square root of the number
    of its values times the greatest integer (Esser et al., 2020, arXiv:1902.08153). The trained
    parameter is the logarithm of the scale, so that the scale stays positive and an optimiser step
    changes all scales by the same share.
    """

    zero_point: Tensor

    def __init__(
        self,
        scale: Tensor,
        zero_point: Tensor,
        *,
        grid: IntegerGrid,
        group: int,
        activations: str | None = None,
    ) -> None:
        """Keep scale and zero point.

        Args:
            scale: One per group of each row of the weight `[R, G]`, or one in all `[1, 1]`.
            zero_point: Integers in the shape of the scale.
            grid: The integers that the weight is rounded to.
            group: Values per group along a row; the last group may be shorter.
            activations: Calibration of the activations in the run form, see `CodedWeight`.
        """
        super().__init__()
        self.bits = grid.bits
        self.group = group
        self.activations = activations
        self.low, self.high = grid.low, grid.high
        # One axis: weight decay, which is for weights, leaves it alone.
        self.log_scale = nn.Parameter(scale.log().flatten(), requires_grad=False)
        self.register_buffer("zero_point", zero_point)

    @property
    def scale(self) -> Tensor:
        """The scale of each group, `[R, G]` or `[1, 1]`."""
        return self.log_scale.exp().view(self.zero_point.shape)

    def integers(self, weight: Tensor) -> Tensor:
        """Return the integers of a weight `[R, ...]` as floats `[R, N]`."""
        rows = as_rows(weight.detach())
        scale, zero = self._over_columns(self.scale.detach(), rows), self._zero(rows)
        return (rows / scale).round().clamp(self.low - zero, self.high - zero) + zero

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight `[R, ...]` rounded to its grid, in its shape."""
        rows = as_rows(weight)
        damped = _damped(self.scale, 1 / math.sqrt(self._values_a_scale(rows) * self.high))
        scale, zero = self._over_columns(damped, rows), self._zero(rows)
        steps = (rows / scale).clamp(self.low - zero, self.high - zero)
        # In the order of decoding; the last bracket is exactly zero and only carries the gradient.
        integers = steps.detach().round() + zero
        return ((integers - zero + (steps - steps.detach())) * scale).view(weight.shape)

    def coded(self, original: Tensor) -> CodedWeight:
        """Return the code of the weight that this quantiser makes of `original` `[R, ...]`."""
        integers = self.integers(original)
        grids = (len(integers), self.zero_point.shape[1])
        narrow = np.min_scalar_type(self.high - self.low)
        return CodedWeight(
            indices=(integers.long() - self.low).cpu().numpy().astype(narrow),
            levels=np.arange(self.low, self.high + 1, dtype=np.float32),
            offset=self.zero_point.expand(grids).cpu().numpy().copy(),
            factor=self.scale.detach().expand(grids).cpu().numpy().copy(),
            group=min(self.group, integers.shape[1]),
            bits=self.bits,
            shape=tuple(original.shape),
            activations=self.activations,
        )

    def _zero(self, rows: Tensor) -> Tensor:
        return self._over_columns(self.zero_point, rows)

    def _over_columns(self, values: Tensor, rows: Tensor) -> Tensor:
        """Repeat one value per group to one per column; `[R, 1]` where a row is one group."""
        if values.shape[1] == 1:
            return values
        return values.repeat_interleave(self.group, dim=1)[:, : rows.shape[1]]

    def _values_a_scale(self, rows: Tensor) -> float:
        return rows.numel() / self.zero_point.numel()


def _damped(value: Tensor, share: float) -> Tensor:
    """Return the value itself, with its gradient multiplied by a share."""
    return value.detach() + (value - value.detach()) * share


def as_rows(weight: Tensor) -> Tensor:
    """Return a weight `[R, ...]` as rows `[R, N]`, a bias `[N]` as one row `[1, N]`."""
    return weight.flatten(1) if weight.dim() > 1 else weight[None]


@dataclass(frozen=True, kw_only=True)
class QuantizerSettings:
    """The integers of a quantiser and how far its scales reach."""

    bits: int
    """Bits of the integers, in [2, 8]."""
    symmetric: bool = True
    """Whether the integers are centred on zero, without a zero point."""
    granularity: Literal["tensor", "channel", "group"] = "channel"
    """One scale per whole weight, per channel (row) or per group of a row."""
    group_size: int = 64
    """Values per group, for the granularity `group`."""
    activations: str | None = None
    """Calibration of the activations in the run form, see `CodedWeight`."""


def quantizer_for(weight: Tensor, settings: QuantizerSettings) -> UniformQuantizer:
    """Return the quantiser that fits a weight `[R, ...]` or a bias `[N]`."""
    rows = as_rows(weight)
    columns = rows.shape[1]
    group = min(settings.group_size, columns) if settings.granularity == "group" else columns
    one_scale = settings.granularity == "tensor"
    grid = IntegerGrid(bits=settings.bits, symmetric=settings.symmetric)
    scale, zero_point = fit_grid(rows.reshape(1, -1) if one_scale else _groups(rows, group), grid)
    shape = (1, 1) if one_scale else (len(rows), -1)
    return UniformQuantizer(
        scale.view(shape),
        zero_point.view(shape),
        grid=grid,
        group=group,
        activations=settings.activations,
    )


def _groups(rows: Tensor, group: int) -> Tensor:
    """Return rows `[R, N]` as groups `[R * G, group]`, the last of each row filled with zeros."""
    missing = -rows.shape[1] % group
    return nn.functional.pad(rows, (0, missing)).reshape(-1, group)
