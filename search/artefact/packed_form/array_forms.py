"""The forms in which an array of unsigned integers is written, and the choice of the smallest."""

import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.unpack import (
    CONSTANT,
    DEFLATE,
    MASKED,
    MAX_ALPHABET,
    NIBBLES,
    PLANES,
    RANGE,
    RAW,
    TABLE,
)
from search.artefact.packed_form.writer import Way, Writer

MIN_ZEROS = 0.03
"""Least share of zeros for which a mask is tried."""
MAX_RAW_BYTES = 64
"""Larger arrays are not stored as they are; they are at worst deflated."""
MAX_DEFLATE_BYTES = 1 << 20
"""Larger arrays are not deflated, except those of few distinct values."""
MAX_TABLE_DEFLATE_BYTES = 1 << 16
"""Larger arrays of few distinct values are not deflated."""
MAX_NIBBLE_BYTES = 1 << 22
MAX_NESTING = 2
"""Depth from which on an array is not split into a mask and the rest."""


@dataclass(frozen=True, kw_only=True)
class UnsignedArray:
    """Unsigned integers that stand for values of some type, bit by bit."""

    values: NDArray[Any]
    """[n]."""
    kind: np.dtype[Any]
    """The type of the values that the integers stand for."""
    shape: tuple[int, int]
    """Rows and columns of the matrix as which the values are coded."""
    nesting: int = 0
    """Number of arrays around this one."""

    @classmethod
    def of_floats(cls, values: NDArray[np.float32]) -> "UnsignedArray":
        """Return the bits of float32 values `[n]`."""
        return cls(values=values.view("<u4"), kind=values.dtype, shape=(1, values.size))

    def inner(self, values: NDArray[Any], nesting: int) -> "UnsignedArray":
        """Return an array `[m]` of the same type that is written as a part of this one."""
        return UnsignedArray(values=values, kind=self.kind, shape=(1, values.size), nesting=nesting)


def write_array(writer: Writer, array: UnsignedArray) -> None:
    """Write an array `[n]` in the form that takes the fewest bytes."""
    values = array.values
    if values.size and np.all(values == values[0]):
        writer.number(CONSTANT)
        writer.program += values[:1].tobytes()
    else:
        writer.smallest(_ways(array))


def _ways(array: UnsignedArray) -> list[Way]:
    """Return the forms that may be the smallest; of equal ones the first is taken."""
    values, wide = array.values, array.values.itemsize > 1
    ways: list[Way] = []
    if values.nbytes <= MAX_RAW_BYTES:
        ways.append(partial(_raw, values=values))
    if array.kind == np.float32 and _is_range(values.view("<f4")):
        ways.append(partial(_range, floats=values.view("<f4")))
    table = _distinct(array)
    if table is not None and wide:
        ways.append(partial(_table, array=array, table=table))
    elif wide and array.nesting < MAX_NESTING and _is_sparse(values):
        ways.append(partial(_masked, array=array))
    else:
        ways.append(partial(_planes, array=array))
    if array.kind == np.uint8 and values.size <= MAX_NIBBLE_BYTES:
        ways.append(partial(_nibbles, array=array))
    limit = MAX_DEFLATE_BYTES if table is None else MAX_TABLE_DEFLATE_BYTES
    if MAX_RAW_BYTES < values.nbytes <= limit:
        ways.append(partial(_deflate, values=values))
    return ways


def deflated(data: bytes, dictionary: bytes = b"") -> bytes:
    """Return data as a raw deflate stream that may refer to a dictionary."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return stream.compress(data) + stream.flush()


def _raw(writer: Writer, values: NDArray[Any]) -> None:
    writer.number(RAW)
    writer.program += values.tobytes()


def _is_range(floats: NDArray[np.float32]) -> bool:
    first = floats[0] if floats.size else np.float32(0)
    if not abs(first) <= 1 << 20 or first != np.rint(first):
        return False
    return (np.arange(floats.size) + int(first)).astype(np.float32).tobytes() == floats.tobytes()


def _range(writer: Writer, floats: NDArray[np.float32]) -> None:
    first = int(floats[0])
    for number in (RANGE, int(first < 0), abs(first)):
        writer.number(number)


def _distinct(array: UnsignedArray) -> NDArray[Any] | None:
    """Return the distinct values, sorted as their type is, where a table of them can pay."""
    values, kind = array.values, array.kind
    limit = min(MAX_ALPHABET, values.size // 2)
    for sample in (values[: 4 * MAX_ALPHABET], values):
        table = np.unique(sample)
        if not 0 < len(table) <= limit:
            return None
    order = np.argsort(table.view(kind), kind="stable") if kind.kind in "fi" else slice(None)
    return table[order]


def _table(writer: Writer, array: UnsignedArray, table: NDArray[Any]) -> None:
    by_bits = np.argsort(table, kind="stable")
    indices = by_bits[np.searchsorted(table[by_bits], array.values)]
    writer.number(TABLE)
    writer.number(len(table))
    write_array(writer, array.inner(table, MAX_NESTING))
    writer.symbols(indices.reshape(array.shape), len(table))


def _is_sparse(values: NDArray[Any]) -> bool:
    return bool(np.count_nonzero(values) < (1 - MIN_ZEROS) * values.size)


def _masked(writer: Writer, array: UnsignedArray) -> None:
    mask = array.values != 0
    writer.number(MASKED)
    writer.symbols(mask.astype(np.int64).reshape(array.shape), 2)
    write_array(writer, array.inner(array.values[mask], array.nesting + 1))


def _planes(writer: Writer, array: UnsignedArray) -> None:
    writer.number(PLANES)
    planes = array.values.view(np.uint8).reshape(-1, array.values.itemsize).T
    for plane in planes:
        writer.symbols(plane.reshape(array.shape) if len(planes) == 1 else plane, 256)


def _nibbles(writer: Writer, array: UnsignedArray) -> None:
    halves = np.stack([array.values & 15, array.values >> 4], axis=1)
    writer.number(NIBBLES)
    writer.symbols(halves.reshape(array.shape[0], -1), 16)


def _deflate(writer: Writer, values: NDArray[Any]) -> None:
    data = deflated(values.tobytes())
    writer.number(DEFLATE)
    writer.number(len(data))
    writer.program += data
