"""How an encoded weight is stored: integers, a table of levels, and a scale for each row."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class CodedWeight:
    """A weight of R rows (its first axis) and N values a row, as integers into a table.

    The weight is `(levels[indices] - offset[:, None]) * factor[:, None]`, computed in float32 in
    this order, so that every decoder rebuilds it to the bit.
    """

    indices: NDArray[np.int64]
    """[R, N], each in [0, K)."""
    levels: NDArray[np.float32]
    """[K]: the centroids of a codebook, or the integers of a quantiser."""
    offset: NDArray[np.float32]
    """[R]: the zero point of each row, 0 for a codebook."""
    factor: NDArray[np.float32]
    """[R]: the scale of each row, 1 for a codebook."""
    bits: int | None
    """The quantiser's bit-width; None for a codebook."""
    shape: tuple[int, ...]
    """The shape of the weight, R first."""

    def decode(self) -> NDArray[np.float32]:
        """Return the weight `[R, ...]` in its own shape."""
        rows = (self.levels[self.indices] - self.offset[:, None]) * self.factor[:, None]
        return rows.astype(np.float32, copy=False).reshape(self.shape)


@runtime_checkable
class Coded(Protocol):
    """A parametrisation whose weight can be stored as a `CodedWeight`."""

    def coded(self, original: Tensor) -> CodedWeight:
        """Return the code of the weight that this parametrisation makes of its input."""
        ...


def coded_weights(model: nn.Module) -> dict[str, CodedWeight]:
    """Return the code of every encoded weight of a model, by its name in the state dict.

    The outermost parametrisation of a weight is the one that is stored.
    """
    codes: dict[str, CodedWeight] = {}
    for path, module in model.named_modules():
        for name, chain in getattr(module, "parametrizations", {}).items():
            last = chain[-1]
            if isinstance(last, Coded):
                value = chain.original
                for earlier in list(chain)[:-1]:
                    value = earlier(value)
                codes[f"{path}.{name}".lstrip(".")] = last.coded(value)
    return codes
