"""Find the integers of the tensors in an ONNX graph among those of the encoded weights.

An exporter transposes weights, reorders the gates of a recurrent layer and stacks directions, but
it does not change rows. A row is therefore identified by its bytes, wherever it is in the graph.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import onnx
from numpy.typing import NDArray

from compressors.weights.encoded import CodedWeight, over_columns

MAX_NARROW = 64
"""Largest integer of which two products with 8-bit activations fit into 16 bits."""


@dataclass(frozen=True, kw_only=True)
class IntegerWeight:
    """A tensor that is `(integers - zero) * scale`, or its transpose, exact to the bit."""

    integers: NDArray[np.int16]
    """[R, N]."""
    zero: NDArray[np.int16]
    """[R, G]: the zero point of each group of a row."""
    scale: NDArray[np.float32]
    """[R, G]: the scale of each group of a row."""
    group: int
    """Values per group."""
    bits: int
    """Bit-width of the quantiser."""
    transposed: bool
    """Whether the tensor is the transpose of the rows."""

    @property
    def signed(self) -> NDArray[np.int16]:
        """The integers `[R, N]` around a zero point of 0."""
        columns = self.integers.shape[1]
        around: NDArray[np.int16] = self.integers - over_columns(self.zero, self.group, columns)
        return around

    @property
    def fits_int8(self) -> bool:
        """True where signed 8-bit integers with one scale per row give the same weight."""
        return self.scale.shape[1] == 1 and int(np.abs(self.signed).max()) <= 127

    @property
    def narrow(self) -> bool:
        """True where a sum of two products with 8-bit activations saturates on no CPU."""
        return self.fits_int8 and int(np.abs(self.signed).max()) <= MAX_NARROW


@dataclass(frozen=True, kw_only=True)
class IntegerLayers:
    """Nodes to quantise and the integers of their weights."""

    nodes: list[onnx.NodeProto]
    """Nodes of the graph in floats."""
    weights: Mapping[str, IntegerWeight]
    """By the name of the initialiser; there may be weights of other nodes too."""


class IntegerRows:
    """The rows of quantised weights, found by their bytes."""

    def __init__(self, codes: Iterable[CodedWeight]) -> None:
        self._codes = [code for code in codes if code.bits is not None and len(code.shape) > 1]
        self._places: dict[bytes, tuple[int, int]] = {}
        for number, code in enumerate(self._codes):
            for row, values in enumerate(code.decode().reshape(code.indices.shape)):
                self._places.setdefault(_digest(values), (number, row))
        self._lengths = {code.indices.shape[1] for code in self._codes}

    def find(self, tensor: NDArray[np.float32]) -> IntegerWeight | None:
        """Return the integers of a tensor `[R, ...]`; None if a row (or column) is unknown."""
        if tensor.dtype != np.float32 or tensor.size == 0 or tensor.ndim < 2:
            return None
        views = [tensor.reshape(len(tensor), -1), tensor.reshape(-1, tensor.shape[-1])]
        for view in views if views[0].shape != views[1].shape else views[:1]:
            for rows, transposed in ((view, False), (np.ascontiguousarray(view.T), True)):
                places = self._known(rows)
                if places is not None:
                    return self._gather(places, transposed)
        return None

    def _known(self, rows: NDArray[np.float32]) -> list[tuple[int, int]] | None:
        """Return the place of each row; None if one is unknown, or if their groups differ."""
        if rows.shape[1] not in self._lengths or _digest(rows[0]) not in self._places:
            return None
        places = [self._places.get(_digest(row)) for row in rows]
        known = [place for place in places if place is not None]
        groups = {self._codes[number].group for number, _ in known}
        return known if len(known) == len(rows) and len(groups) == 1 else None

    def _gather(self, places: list[tuple[int, int]], transposed: bool) -> IntegerWeight:
        picked = [(self._codes[number], row) for number, row in places]
        return IntegerWeight(
            integers=np.stack([code.levels[code.indices[row]] for code, row in picked]).astype(
                np.int16
            ),
            zero=np.stack([code.offset[row] for code, row in picked]).astype(np.int16),
            scale=np.stack([code.factor[row] for code, row in picked]),
            group=picked[0][0].group,
            bits=max(code.bits or 0 for code, _ in picked),
            transposed=transposed,
        )


def _digest(row: NDArray[np.float32]) -> bytes:
    return blake2b(np.ascontiguousarray(row).data, digest_size=16).digest()
