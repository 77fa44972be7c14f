"""The entries of a matrix in the order in which the reader asks for them: diagonal by diagonal."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from search.artefact.packed_form.unpack import Array

BAND = 1 << 14
"""Approximate number of entries that are processed together, which bounds memory."""


@dataclass(frozen=True, kw_only=True)
class Entries:
    """Some entries `[m]` of neighbouring diagonals, in the reader's order."""

    row: Array
    """[m]."""
    column: Array
    """[m]."""
    flat: Array
    """[m]: the place in the flattened matrix."""
    diagonal: Array
    """[m]: the number of the diagonal, counted from the first of these."""
    starts: Array
    """[diagonals + 1]: where each diagonal begins, and where the last one ends."""

    def where(self, chosen: Array) -> "Entries":
        """Return the entries at some places `[k]`, in ascending order, of these."""
        return Entries(
            row=self.row[chosen],
            column=self.column[chosen],
            flat=self.flat[chosen],
            diagonal=self.diagonal[chosen],
            starts=np.searchsorted(chosen, self.starts),
        )


def bands(rows: int, columns: int) -> Iterator[Entries]:
    """Yield the entries of a matrix, some diagonals at a time."""
    diagonals = np.arange(rows + columns - 1)
    first = np.maximum(0, diagonals - columns + 1)
    sizes = np.minimum(rows - 1, diagonals) - first + 1
    cuts = np.searchsorted(np.cumsum(sizes), np.arange(BAND, rows * columns, BAND)) + 1
    for begin, end in pairwise(np.unique([0, *cuts, len(diagonals)])):
        starts = np.concatenate([[0], np.cumsum(sizes[begin:end])])
        diagonal = np.repeat(np.arange(end - begin), sizes[begin:end])
        row = np.arange(starts[-1]) - (starts[:-1] - first[begin:end])[diagonal]
        column = begin + diagonal - row
        flat = row * columns + column
        yield Entries(row=row, column=column, flat=flat, diagonal=diagonal, starts=starts)
