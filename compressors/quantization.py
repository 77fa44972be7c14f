"""Quantisation: every weight becomes an integer of a few bits, with a scale and a zero point."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from compressors.base import InfeasibleError, Kind, Task, check_range
from compressors.coding import CodedWeight
from compressors.copying import copy_model
from compressors.weights import compressible_weights

SHRINK_FACTORS = torch.linspace(0.3, 1.0, 36).tolist()


class UniformQuantizer(nn.Module):
    """A parametrisation that rounds a weight to a grid of integers times a scale.

    The gradient passes the rounding as if it were not there (Bengio et al., 2013,
    arXiv:1308.3432), so that a quantised weight can be trained.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, scale: Tensor, zero_point: Tensor, *, bits: int, symmetric: bool) -> None:
        """Keep scale and zero point, `[R]` for one a row of the weight, `[1]` for one in all."""
        super().__init__()
        self.bits = bits
        self.low, self.high = integer_range(bits, symmetric=symmetric)
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero_point)

    def integers(self, weight: Tensor) -> Tensor:
        """Return the integers of a weight `[R, ...]` as floats `[R, N]`."""
        return _integers(weight.flatten(1), self.scale, self.zero_point, self.low, self.high)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight on its grid, in its own shape."""
        integers = self.integers(weight.detach())
        rounded = (integers - self.zero_point[:, None]) * self.scale[:, None]
        # The bracket is exactly zero: it only carries the gradient.
        return rounded.view(weight.shape) + (weight - weight.detach())

    def coded(self, original: Tensor) -> CodedWeight:
        """Return the code of the weight `[R, ...]` that this quantiser makes of its input."""
        rows = original.shape[0]
        indices = self.integers(original.detach()).long() - self.low
        return CodedWeight(
            indices=indices.cpu().numpy(),
            levels=np.arange(self.low, self.high + 1, dtype=np.float32),
            offset=self.zero_point.expand(rows).cpu().numpy().copy(),
            factor=self.scale.expand(rows).cpu().numpy().copy(),
            bits=self.bits,
            shape=tuple(original.shape),
        )


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Round every weight to integers of `bits` bits; scale and zero point are recorded.

    Zero stays exactly zero. At 8 bits the range of a weight is kept whole; below, it is clipped
    where the squared error of the weights is least.
    """

    kind: ClassVar[Kind] = Kind.ENCODES_WEIGHTS

    bits: int | None = None
    """2 to 8, or None for off."""
    symmetric: bool = True
    """Integers around zero, `-(2^(b-1)-1)` to `2^(b-1)-1`; else 0 to `2^b-1` with a zero point."""
    per_channel: bool = True
    """One scale for each row of a weight (its first axis), else one for the whole weight."""

    def __post_init__(self) -> None:
        if self.bits is not None:
            check_range("bits", self.bits, 2, 8)

    @property
    def active(self) -> bool:
        """True when a bit-width is set."""
        return self.bits is not None

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy with quantised weights.

        Raises:
            InfeasibleError: the model has no weights.
        """
        quantised = copy_model(model)
        if self.bits is None:
            return quantised
        weights = compressible_weights(quantised)
        if not weights:
            raise InfeasibleError("quantisation: the model has no weights with two or more axes")
        for weight in weights:
            weight.add(self._quantizer(weight.value(), self.bits))
        return quantised

    def _quantizer(self, weight: Tensor, bits: int) -> UniformQuantizer:
        rows = weight.flatten(1) if self.per_channel else weight.reshape(1, -1)
        scale, zero_point = fit_grid(rows, bits, symmetric=self.symmetric)
        return UniformQuantizer(scale, zero_point, bits=bits, symmetric=self.symmetric)


def integer_range(bits: int, *, symmetric: bool) -> tuple[int, int]:
    """Return the least and the greatest integer of a grid."""
    if symmetric:
        return 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def fit_grid(rows: Tensor, bits: int, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return scale `[R]` and zero point `[R]` for rows `[R, N]`.

    Below 8 bits the range is the one, among shrunk ranges, of least squared error.
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


def _grid(rows: Tensor, factor: float, low: int, high: int) -> tuple[Tensor, Tensor]:
    if low < 0:
        scale = rows.abs().amax(1) * factor / high
        return torch.where(scale > 0, scale, 1.0), torch.zeros_like(scale)
    bottom = rows.amin(1).clamp(max=0) * factor
    scale = (rows.amax(1).clamp(min=0) * factor - bottom) / high
    scale = torch.where(scale > 0, scale, 1.0)
    return scale, (-bottom / scale).round().clamp(low, high)


def _integers(rows: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    return ((rows / scale[:, None]).round() + zero_point[:, None]).clamp(low, high)


def _squared_error(rows: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
    integers = _integers(rows, scale, zero, low, high)
    return ((integers - zero[:, None]) * scale[:, None] - rows).square().sum(1)
