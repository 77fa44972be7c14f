"""The grid of integers times a scale that fits given values at the least squared error."""

from dataclasses import dataclass

import torch
from torch import Tensor

SHRINK_FACTORS: list[float] = torch.linspace(0.3, 1.0, 36).tolist()
"""Shares of the whole range of the values that a grid of fewer than 8 bits may cover."""


@dataclass(frozen=True, kw_only=True)
class IntegerGrid:
    """The integers that values are rounded to."""

    bits: int
    """Bits of an integer, in [2, 8]."""
    symmetric: bool
    """Whether the integers are centred on zero; otherwise they start at 0, with a zero point."""

    @property
    def low(self) -> int:
        """The least integer."""
        return -self.high if self.symmetric else 0

    @property
    def high(self) -> int:
        """The greatest integer."""
        return (1 << (self.bits - 1 if self.symmetric else self.bits)) - 1


def fit_grid(rows: Tensor, grid: IntegerGrid) -> tuple[Tensor, Tensor]:
    """Fit scale and zero point to each row.

    At 8 bits the grid covers the whole range of a row; below, the shrunk range of least squared
    error.

    Args:
        rows: Values `[R, N]`.
        grid: The integers that the values are rounded to.

    Returns:
        Scales `[R]` and zero points `[R]`.
    """
    best_scale, best_zero = _covering(rows, 1.0, grid)
    if grid.bits == 8:
        return best_scale, best_zero
    best_error = _squared_error(rows, _rounded(rows, best_scale, best_zero, grid))
    for factor in SHRINK_FACTORS:
        scale, zero = _covering(rows, factor, grid)
        error = _squared_error(rows, _rounded(rows, scale, zero, grid))
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
    return best_scale, best_zero


def _covering(rows: Tensor, factor: float, grid: IntegerGrid) -> tuple[Tensor, Tensor]:
    """Return scales `[R]` and zero points `[R]` that cover a share of the range of each row."""
    if grid.symmetric:
        scale = rows.abs().amax(1) * factor / grid.high
        return _usable(scale), torch.zeros_like(scale)
    bottom = rows.amin(1).clamp(max=0) * factor
    scale = _usable((rows.amax(1).clamp(min=0) * factor - bottom) / grid.high)
    return scale, (-bottom / scale).round().clamp(grid.low, grid.high)


def _usable(scale: Tensor) -> Tensor:
    """Return scales, 1 where all values are zero or too small to be divided by."""
    return torch.where(scale > torch.finfo(scale.dtype).tiny, scale, 1.0)


def _rounded(rows: Tensor, scale: Tensor, zero: Tensor, grid: IntegerGrid) -> Tensor:
    """Return rows `[R, N]` rounded to the grids of scales `[R]` and zero points `[R]`."""
    integers = (rows / scale[:, None]).round() + zero[:, None]
    clipped = integers.clamp(grid.low, grid.high)
    return (clipped - zero[:, None]) * scale[:, None]


def _squared_error(rows: Tensor, rounded: Tensor) -> Tensor:
    return (rounded - rows).square().sum(1)
