"""What the neighbours of each entry of a matrix hold, counted for all entries at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.unpack import beside, neighbours

Matrix = NDArray[Any]


def count_left(kept: Matrix) -> Matrix:
    """Return `[R, N]`: the number of ones in `kept` `[R, N]` to the left of each entry."""
    return kept.cumsum(1, dtype=_count_type(kept)) - kept


def count_above(kept: Matrix) -> Matrix:
    """Return `[R, N]`: the number of ones in `kept` `[R, N]` above each entry."""
    return kept.cumsum(0, dtype=_count_type(kept)) - kept


def count_beside(kept: Matrix, above: Matrix, stride: int) -> Matrix:
    """Return the number of ones in the columns beside each entry, on diagonals before its own.

    Args:
        kept: Zeros and ones `[R, N]`.
        above: The result `[R, N]` of `count_above`.
        stride: Columns between an entry and the further ones of its columns beside.
    """
    rows, columns = kept.shape
    above = np.concatenate([above, above[-1:] + kept[-1:]])
    found = np.zeros_like(kept, _count_type(kept))
    for right in beside(stride):
        moved = above[np.clip(np.arange(rows) - right, 0, rows)]
        if right > 0:
            found[:, : columns - right] += moved[:, right:]
        else:
            found[:, -right:] += moved[:, : columns + right]
    return found


def neighbour_pattern(values: Matrix, stride: int, digits: tuple[int, ...]) -> Matrix:
    """Return `[R, N]`: the sum over the neighbours of each entry, each times its digit.

    Args:
        values: Entries `[R, N]`.
        stride: Columns between an entry and its neighbour in the next row of a kernel or image.
        digits: One factor for each of the neighbours of `unpack.neighbours`.
    """
    rows, columns = values.shape
    found = np.zeros_like(values)
    for (down, right), digit in zip(neighbours(stride), digits, strict=True):
        if down or right:
            source = values[: rows - down, : max(0, columns - right)]
            found[down:, right:] += source * values.dtype.type(digit)
    return found


def _count_type(kept: Matrix) -> np.dtype[Any]:
    return np.min_scalar_type(4 * max(kept.shape))
