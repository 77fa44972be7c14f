"""Uniform quantisation: a weight as integers times a scale, both trainable."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from compressors.weights.encoded import CodedWeight

SHRINK_FACTORS: list[float] = torch.linspace(0.3, 1.0, 36).tolist()


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
        bits: int,
        symmetric: bool,
        group: int,
        activations: str | None = None,
    ) -> None:
        """Keep scale and zero point.

        Args:
            scale: One per group of each row of the weight `[R, G]`, or one in all `[1, 1]`.
            zero_point: Integers in the shape of the scale.
            bits: Bits of the integers, 2 to 8.
            symmetric: Whether the integers are centred on zero, see `integer_range`.
            group: Values per group along a row; the last group may be shorter.
            activations: Calibration of the activations in the run form, see `CodedWeight`.
        """
        super().__init__()
        self.bits = bits
        self.group = group
        self.activations = activations
        self.low, self.high = integer_range(bits, symmetric=symmetric)
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
        # As it is decoded; the last bracket is exactly zero and only carries the gradient.
        integers = steps.detach().round() + zero
        return ((integers - zero + (steps - steps.detach())) * scale).view(weight.shape)

    def coded(self, original: Tensor) -> CodedWeight:
        """Return the code of the weight that this quantiser makes of `original` `[R, ...]`."""
        integers = self.integers(original)
        grids = (len(integers), self.zero_point.shape[1])
        return CodedWeight(
            indices=(integers.long() - self.low).cpu().numpy(),
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


def integer_range(bits: int, *, symmetric: bool) -> tuple[int, int]:
    """Return the least and the greatest integer of a grid of 2 to 8 bits."""
    if symmetric:
        return 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def quantizer_for(
    weight: Tensor,
    *,
    bits: int,
    symmetric: bool,
    granularity: str,
    group_size: int,
    activations: str | None = None,
) -> UniformQuantizer:
    """Return the quantiser that fits a weight `[R, ...]` or a bias `[N]`.

    Args:
        weight: The values to fit, `[R, ...]` or `[N]`.
        bits: Bits of the integers, 2 to 8.
        symmetric: Whether the grid is centred on zero, without a zero point.
        granularity: One scale per whole `tensor`, per `channel` (row) or per `group` of a row.
        group_size: Values per group, for the granularity `group`.
        activations: Calibration of the activations in the run form, see `CodedWeight`.
    """
    rows = as_rows(weight)
    group = min(group_size, rows.shape[1]) if granularity == "group" else rows.shape[1]
    spread = rows.reshape(1, -1) if granularity == "tensor" else _groups(rows, group)
    scale, zero_point = fit_grid(spread, bits, symmetric=symmetric)
    shape = (1, 1) if granularity == "tensor" else (len(rows), -1)
    return UniformQuantizer(
        scale.view(shape),
        zero_point.view(shape),
        bits=bits,
        symmetric=symmetric,
        group=group,
        activations=activations,
    )


def fit_grid(rows: Tensor, bits: int, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Fit one grid to each row.

    At 8 bits the grid covers the whole range of a row; below, the shrunk range of least squared
    error.

    Args:
        rows: Values `[R, N]`.
        bits: Bits of the integers, 2 to 8.
        symmetric: Whether the grid is centred on zero.

    Returns:
        Scales `[R]` and zero points `[R]`.
    """
    low, high = integer_range(bits, symmetric=symmetric)
    best_scale, best_zero = _grid(rows, 1.0, low, high)
    if bits == 8:
        return best_scale, best_zero
    best_error = _squared_error(rows, best_scale, best_zero, low, high)
    for factor in SHRINK_FACTORS:
        scale, zero = _grid(rows, factor, low, high)
        error = _squared_error(rows, scale, zero, low, high)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
    return best_scale, best_zero


def _groups(rows: Tensor, group: int) -> Tensor:
    """Return rows `[R, N]` as groups `[R * G, group]`, the last of each row filled with zeros."""
    missing = -rows.shape[1] % group
    return nn.functional.pad(rows, (0, missing)).reshape(-1, group)


def _grid(rows: Tensor, factor: float, low: int, high: int) -> tuple[Tensor, Tensor]:
    if low < 0:
        scale = rows.abs().amax(1) * factor / high
        return _usable(scale), torch.zeros_like(scale)
    bottom = rows.amin(1).clamp(max=0) * factor
    scale = _usable((rows.amax(1).clamp(min=0) * factor - bottom) / high)
    return scale, (-bottom / scale).round().clamp(low, high)


def _usable(scale: Tensor) -> Tensor:
    """Return scales, 1 where all values are zero or too small to be divided by."""
    return torch.where(scale > torch.finfo(scale.dtype).tiny, scale, 1.0)


def _squared_error(rows: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
    integers = (rows / scale[:, None]).round() + zero[:, None]
    clipped = integers.clamp(low, high)
    return ((clipped - zero[:, None]) * scale[:, None] - rows).square().sum(1)
