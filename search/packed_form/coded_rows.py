"""Find the rows of a tensor among the rows of encoded weights.

An exporter transposes weights, reorders the gates of a recurrent layer and stacks directions, but
it leaves rows as they are. A row is therefore known by its bytes, wherever it ended up.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressors.coding import CodedWeight


@dataclass(frozen=True, kw_only=True)
class CodedTensor:
    """A tensor as integers into a table, an offset and a factor a row, exact to the bit.

    The tensor's values, flat, are `(levels[indices] - offset[:, None]) * factor[:, None]`, or its
    transpose.
    """

    indices: NDArray[np.int64]
    """[R, N], each in [0, K)."""
    levels: NDArray[np.float32]
    """[K], from the lowest in use to the highest."""
    offset: NDArray[np.float32]
    """[R]."""
    factor: NDArray[np.float32]
    """[R]."""
    transposed: bool

    @property
    def is_signed(self) -> bool:
        """True where the levels are signed 8-bit integers without a zero point."""
        return bool(np.all(np.abs(self.levels) <= 127)) and not self.offset.any()

    def decode(self) -> NDArray[np.float32]:
        """Return the rows `[R, N]`, or `[N, R]` where transposed."""
        rows = (self.levels[self.indices] - self.offset[:, None]) * self.factor[:, None]
        return rows.T if self.transposed else rows


class CodedRows:
    """The rows of encoded weights, found by their bytes."""

    def __init__(self, codes: Iterable[CodedWeight]) -> None:
        self._codes = list(codes)
        self._places: dict[bytes, tuple[int, int]] = {}
        for number, code in enumerate(self._codes):
            for row, values in enumerate(code.decode().reshape(code.indices.shape)):
                self._places.setdefault(values.tobytes(), (number, row))
        self._lengths = {code.indices.shape[1] for code in self._codes}

    def find(self, tensor: NDArray[np.float32]) -> CodedTensor | None:
        """Return the code of a tensor all of whose rows or columns are known, else None."""
        if tensor.dtype != np.float32 or tensor.size == 0 or tensor.ndim < 2:
            return None
        views = [tensor.reshape(len(tensor), -1), tensor.reshape(-1, tensor.shape[-1])]
        for view in views if views[0].shape != views[1].shape else views[:1]:
            for rows, transposed in ((view, False), (np.ascontiguousarray(view.T), True)):
                if rows.shape[1] in self._lengths and rows[0].tobytes() in self._places:
                    places = [self._places.get(row.tobytes()) for row in rows]
                    known = [place for place in places if place is not None]
                    if len(known) == len(rows):
                        coded = self._gather(known, transposed)
                        return coded if coded.decode().tobytes() == view.tobytes() else None
        return None

    def _gather(self, places: list[tuple[int, int]], transposed: bool) -> CodedTensor:
        used = [self._codes[number] for number in sorted({number for number, _ in places})]
        table = np.unique(np.concatenate([code.levels for code in used]))
        rank = {id(code): np.searchsorted(table, code.levels) for code in used}
        picked = [(self._codes[number], row) for number, row in places]
        ranks = np.stack([rank[id(code)][code.indices[row]] for code, row in picked])
        first, last = int(ranks.min()), int(ranks.max())
        return CodedTensor(
            indices=ranks - first,
            levels=table[first : last + 1].astype(np.float32),
            offset=np.array([code.offset[row] for code, row in picked], np.float32),
            factor=np.array([code.factor[row] for code, row in picked], np.float32),
            transposed=transposed,
        )
