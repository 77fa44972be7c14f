"""The stored form of an encoded weight: integers, a table of levels, and scales."""

from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class CodedWeight:
    """A weight of R rows (its first axis) and N values a row, as integers into a table.

    A row is cut into G groups of `group` values, the last of which may be shorter. The weight is
    `(levels[indices] - offset) * factor`, with the offset and the factor of each value's group,
    computed in float32 in this order, so that every decoder rebuilds it to the bit. A bias is one
    row.
    """

    indices: NDArray[np.integer[Any]]
    """[R, N], each in [0, K), of the narrowest type for K: a large model has one for each value."""
    levels: NDArray[np.float32]
    """[K]: the centroids of a codebook, or the integers of a quantiser."""
    offset: NDArray[np.float32]
    """[R, G]: the zero point of each group, 0 for a codebook."""
    factor: NDArray[np.float32]
    """[R, G]: the scale of each group, 1 for a codebook."""
    group: int
    """Values a group: column n belongs to group n // group; N for one group a row."""
    bits: int | None
    """The quantiser's bit-width; None for a codebook."""
    shape: tuple[int, ...]
    """The shape of the weight, R first; [N] for a bias."""
    activations: str | None = None
    """Calibration of the 8-bit activations that the weight multiplies in the run form: minmax,
    percentile or mse; None where activations stay floats."""

    def decode(self) -> NDArray[np.float32]:
        """Return the weight in its own shape."""
        columns = self.indices.shape[1]
        offset, factor = (over_columns(v, self.group, columns) for v in (self.offset, self.factor))
        rows: NDArray[np.float32] = (self.levels[self.indices] - offset) * factor
        return rows.astype(np.float32, copy=False).reshape(self.shape)


def over_columns(values: NDArray[Any], group: int, columns: int) -> NDArray[Any]:
    """Repeat one value per group `[R, G]` to one per column `[R, N]`, or `[R, 1]` if G is 1.

    Args:
        values: One value per group `[R, G]`.
        group: Columns per group.
        columns: N.
    """
    return values if values.shape[1] == 1 else np.repeat(values, group, axis=1)[:, :columns]


@runtime_checkable
class Coded(Protocol):
    """A parametrisation whose weight can be stored as a `CodedWeight`."""

    def coded(self, original: Tensor) -> CodedWeight:
        """Return the code of the weight that this module makes of `original` `[R, ...]`."""
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
                codes[f"{path}.{name}".lstrip(".")] = last.coded(_before_last(chain))
    return codes


def _before_last(chain: Any) -> Tensor:
    """Return the value `[R, ...]` that the outermost of some parametrisations is given."""
    if chain.is_tensor:
        stored = [chain.original]
    else:  # such as weight norm, which makes one weight of two tensors
        stored = [getattr(chain, f"original{number}") for number in range(chain.ntensors)]
    earlier = list(chain)[:-1]
    if not earlier:
        return cast(Tensor, stored[0])
    value = earlier[0](*stored)
    for step in earlier[1:]:
        value = step(value)
    return cast(Tensor, value)
