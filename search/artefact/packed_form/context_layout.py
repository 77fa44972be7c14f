"""How a matrix of symbols is laid out for coding in the context of its neighbours."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.unpack import Frame, fits_context

MAX_CONTEXT_SYMBOLS = 1 << 24
"""Larger matrices are not coded in context, which takes half a microsecond per symbol."""
MAX_DENSE_SYMBOLS = 1 << 16
"""Larger matrices with few zeros are not coded in context, since they have little to gain."""
MIN_ZEROS = 0.25
"""Least share of the commonest symbol in matrices that do not count as dense."""
MAX_STRIDE = 64
STRIDE_SAMPLE = 1 << 20
"""Entries that are compared to find the stride."""


@dataclass(frozen=True, kw_only=True)
class ContextLayout:
    """The reader's frame of a matrix and whether its rows become columns."""

    frame: Frame
    transposed: bool


def context_layout(matrix: NDArray[Any], alphabet: int) -> ContextLayout | None:
    """Return how to code symbols `[R, N]` in [0, alphabet) in context; None if it cannot pay."""
    rows, columns = matrix.shape
    counts = np.bincount(matrix.reshape(-1), minlength=alphabet)
    zero = int(counts.argmax())
    kept = matrix.size - int(counts[zero])
    limit = MAX_DENSE_SYMBOLS if kept > (1 - MIN_ZEROS) * matrix.size else MAX_CONTEXT_SYMBOLS
    if kept == 0 or matrix.size > limit or not fits_context(rows, columns):
        return None
    mask = matrix != zero
    strides = [_stride(mask), _stride(mask.T)]
    transposed = strides[1][0] > strides[0][0]
    if transposed:
        rows, columns = columns, rows
    frame = Frame(
        rows=rows,
        columns=columns,
        stride=strides[transposed][1],
        zero=zero,
        alphabet=alphabet,
        boldness=0 if kept > 16 * alphabet else 2,
    )
    return ContextLayout(frame=frame, transposed=transposed)


def _stride(mask: NDArray[np.bool_]) -> tuple[float, int]:
    """Return how strongly the entries of rows `[R, N]` coincide at the best stride, and the stride.

    Coincidences are counted beyond those of independent columns, in standard deviations.
    """
    columns = mask.shape[1]
    sample = mask[: max(1, STRIDE_SAMPLE // columns)]
    shares = sample.mean(0)
    best = (0.0, min(2, columns))
    for step in range(2, min(MAX_STRIDE, columns - 1) + 1):
        found = np.count_nonzero(sample[:, step:] & sample[:, :-step])
        expected = len(sample) * float(shares[step:] @ shares[:-step])
        gain = (found - expected) / np.sqrt(expected + 1)
        best = max(best, (float(gain), step), key=lambda pair: pair[0])
    return best
