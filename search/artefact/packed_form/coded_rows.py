"""Find the rows of a tensor among the rows of encoded weights.

An exporter transposes weights, reorders the gates of a recurrent layer and stacks directions, but
it does not change rows. A row is therefore identified by its values, wherever it is in the graph.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressors.weights.encoded import CodedWeight, over_columns

Rows = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class CodedTensor:
    """A tensor as integers into a table, with an offset and a factor per group, exact to the bit.

    The tensor's values, flat, are `(levels[indices] - offset) * factor`, or its transpose, with the
    offset and the factor of each value's group.
    """

    indices: NDArray[np.int64]
    """[R, N], each in [0, K)."""
    levels: NDArray[np.float32]
    """[K]: the table, from the lowest level in use to the highest."""
    offset: NDArray[np.float32]
    """[R, G]: the zero point of each group."""
    factor: NDArray[np.float32]
    """[R, G]: the scale of each group."""
    group: int
    """Values per group: column n belongs to group n // group; N for one group per row."""
    transposed: bool
    """Whether the tensor is the transpose of the rows."""

    def decode(self) -> Rows:
        """Return the rows `[R, N]`, or `[N, R]` where transposed."""
        columns = self.indices.shape[1]
        offset, factor = (over_columns(v, self.group, columns) for v in (self.offset, self.factor))
        rows: Rows = (self.levels[self.indices] - offset) * factor
        return rows.T if self.transposed else rows


class CodedRows:
    """The rows of encoded weights, found by their values."""

    def __init__(self, codes: Iterable[CodedWeight]) -> None:
        self._codes = list(codes)
        self._places: dict[int, tuple[int, int]] = {}
        for number, code in enumerate(self._codes):
            for row, values in enumerate(code.decode().reshape(code.indices.shape)):
                self._places.setdefault(hash(values.tobytes()), (number, row))
        self._lengths = {code.indices.shape[1] for code in self._codes}

    def find(self, tensor: Rows) -> CodedTensor | None:
        """Return the code of a tensor `[R, ...]`; None if a row (or column) is unknown."""
        if tensor.dtype != np.float32 or tensor.size == 0 or tensor.ndim < 1:
            return None
        for rows, transposed in _views(tensor):
            if rows.shape[1] in self._lengths and hash(rows[0].tobytes()) in self._places:
                places = [self._places.get(hash(row.tobytes())) for row in rows]
                known = [place for place in places if place is not None]
                coded = self._gather(known, transposed) if len(known) == len(rows) else None
                if coded is not None and coded.decode().tobytes() == tensor.tobytes():
                    return coded
        return None

    def _gather(self, places: list[tuple[int, int]], transposed: bool) -> CodedTensor | None:
        """Return the rows at these places, None where their groups differ."""
        used = [self._codes[number] for number in sorted({number for number, _ in places})]
        if len({(code.indices.shape[1], code.group) for code in used}) > 1:
            return None
        table = np.unique(np.concatenate([code.levels for code in used]))
        rank = {id(code): np.searchsorted(table, code.levels) for code in used}
        picked = [(self._codes[number], row) for number, row in places]
        ranks = np.stack([rank[id(code)][code.indices[row]] for code, row in picked])
        first, last = int(ranks.min()), int(ranks.max())
        return CodedTensor(
            indices=ranks - first,
            levels=table[first : last + 1].astype(np.float32),
            offset=np.stack([code.offset[row] for code, row in picked]).astype(np.float32),
            factor=np.stack([code.factor[row] for code, row in picked]).astype(np.float32),
            group=used[0].group,
            transposed=transposed,
        )


def _views(tensor: Rows) -> Iterator[tuple[Rows, bool]]:
    """Yield the matrices as which a tensor may be read, with whether they are transposed."""
    if tensor.ndim == 1:
        yield tensor[None], False
        return
    views = [tensor.reshape(len(tensor), -1), tensor.reshape(-1, tensor.shape[-1])]
    for view in views if views[0].shape != views[1].shape else views[:1]:
        yield view, False
        yield np.ascontiguousarray(view.T), True
