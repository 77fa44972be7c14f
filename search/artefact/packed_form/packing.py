"""The ship form: the run-form file, without loss, each of its tensors stored as what it is.

The data of the initialisers is cut out of the serialised file and encoded on its own; what is left
is deflated. `unpack.py` is the reader.
"""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compressors.weights.encoded import CodedWeight
from search.artefact.packed_form.coded_rows import CodedRows, CodedTensor
from search.artefact.packed_form.unpack import (
    CODED,
    CONSTANT,
    DEFLATE,
    DICTIONARY,
    MAGIC,
    MASKED,
    MAX_ALPHABET,
    NIBBLES,
    PLANES,
    RANGE,
    RAW,
    RAW_DATA,
    TABLE,
    digest,
    fields,
    map_initialisers,
    stored_size,
    unpack,
    varint,
)
from search.artefact.packed_form.writer import Writer

Way = Callable[[Writer], None]

MIN_ZEROS = 0.03
"""The least share of zeros for which a mask is tried."""
MAX_RAW_BYTES = 64
"""Larger arrays are not stored as they are; they are stored deflated at worst."""
MAX_DEFLATE_BYTES = 1 << 20
"""Larger arrays are not tried for repetitions."""
MAX_NIBBLE_BYTES = 1 << 22


def pack(onnx_bytes: bytes, codes: Iterable[CodedWeight]) -> bytes:
    """Return the packed file, from which `unpack.unpack` gives exactly `onnx_bytes`.

    With the `codes` of the weights that the file was made of, encoded weights are stored as their
    integers; without them the result is as exact, only larger.
    """
    rows = CodedRows(codes)
    writer = Writer()

    def without_data(content: bytes) -> bytes:
        lean = b"".join(whole for number, whole, _ in fields(content) if number != RAW_DATA)
        stored = stored_size(lean)
        tensor = onnx.TensorProto.FromString(content)
        if stored is None or stored[0] * stored[1] != len(tensor.raw_data):
            return content
        write_tensor(writer, _values(tensor), rows)
        return lean

    graph = map_initialisers(onnx_bytes, without_data)
    body = varint(len(writer.program)) + writer.program
    body += _deflated(graph, DICTIONARY) + writer.words()
    packed = MAGIC + digest(body, onnx_bytes) + body
    if unpack(packed) != onnx_bytes:
        raise AssertionError("the packed model does not unpack to the file it was made of")
    return packed


def _deflated(data: bytes, dictionary: bytes = b"") -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return stream.compress(data) + stream.flush()


def _values(tensor: onnx.TensorProto) -> NDArray[Any]:
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.frombuffer(tensor.raw_data, kind).reshape(tuple(tensor.dims))


def write_tensor(writer: Writer, tensor: NDArray[Any], rows: CodedRows) -> None:
    """Write a tensor in its smallest form, exact to the bit.

    Encoded weights become integers and scales; few distinct values a table and indices; many
    zeros a mask and the rest; anything else is split into its byte planes or deflated.
    """
    shape = _matrix(tensor.shape)
    coded = rows.find(tensor)
    if coded is not None:
        writer.smallest([_coded(form) for form in _forms(coded)])
    else:
        unsigned = np.ascontiguousarray(tensor).reshape(-1).view(f"<u{tensor.itemsize}")
        _array(writer, unsigned, tensor.dtype, shape)


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape of the matrix that a tensor is coded as: rows by outputs, if it can be."""
    if len(shape) < 2:
        return 1, int(np.prod(shape))
    if len(shape) == 3 and shape[0] <= 2:
        return shape[0] * shape[1], shape[2]
    return shape[0], int(np.prod(shape[1:]))


def _forms(coded: CodedTensor) -> list[CodedTensor]:
    """Return a code and, where it has whole zero points, the same with zero as its zero point."""
    whole = np.all(coded.levels == np.rint(coded.levels)) and np.abs(coded.levels).max() < 1 << 12
    if not (whole and coded.offset.any() and np.all(coded.offset == np.rint(coded.offset))):
        return [coded]
    offset = np.repeat(coded.offset, coded.group, axis=1)[:, : coded.indices.shape[1]]
    integers = (coded.levels[coded.indices] - offset).astype(np.int64)
    low, high = int(integers.min()), int(integers.max())
    if high - low >= MAX_ALPHABET:
        return [coded]
    centred = replace(
        coded,
        indices=integers - low,
        levels=np.arange(low, high + 1, dtype=np.float32),
        offset=np.zeros_like(coded.offset),
    )
    return [coded, centred]


def _coded(coded: CodedTensor) -> Way:
    """Return how to write a code; one without scales is a table and its indices."""
    rows = len(coded.indices)
    bare = not (coded.offset.any() or coded.transposed or np.any(coded.factor != 1))

    def write(writer: Writer) -> None:
        writer.number(TABLE if bare else CODED)
        if not bare:
            group = 0 if coded.factor.shape[1] == 1 else coded.group
            for number in (int(coded.transposed), rows, group):
                writer.number(number)
        writer.number(len(coded.levels))
        for values in [coded.levels] if bare else [coded.levels, coded.offset, coded.factor]:
            _array(writer, values.reshape(-1).view("<u4"), values.dtype)
        writer.symbols(coded.indices, len(coded.levels))

    return write


def _array(
    writer: Writer,
    values: NDArray[Any],
    kind: np.dtype[Any],
    shape: tuple[int, int] | None = None,
    nesting: int = 0,
) -> None:
    """Write unsigned integers `[n]` that stand for values of some kind, in the best way."""
    if values.size and np.all(values == values[0]):
        writer.number(CONSTANT)
        writer.program += values[:1].tobytes()
        return
    shape = shape or (1, values.size)
    ways: list[Way] = []
    if values.nbytes <= MAX_RAW_BYTES:
        ways.append(lambda fork: _raw(fork, values))
    if kind == np.float32 and _is_range(values.view("<f4")):
        ways.append(lambda fork: _range(fork, values.view("<f4")))
    table = _distinct(values, kind)
    if table is not None and values.itemsize > 1:
        ways.append(lambda fork: _table(fork, values, table, kind, shape))
    elif values.itemsize > 1 and nesting < 2 and _is_sparse(values):
        ways.append(lambda fork: _masked(fork, values, kind, shape, nesting))
    else:
        ways.append(lambda fork: _planes(fork, values, shape))
    if kind == np.uint8 and values.size <= MAX_NIBBLE_BYTES:
        ways.append(lambda fork: _nibbles(fork, values, shape))
    if _may_repeat(values, table):
        ways.append(lambda fork: _deflate(fork, values))
    writer.smallest(ways)


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


def _distinct(values: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any] | None:
    """Return the distinct values in their own order, where a table of them can pay."""
    limit = min(MAX_ALPHABET, values.size // 2)
    for sample in (values[: 4 * MAX_ALPHABET], values):
        table = np.unique(sample)
        if not 0 < len(table) <= limit:
            return None
    order = np.argsort(table.view(kind), kind="stable") if kind.kind in "fi" else slice(None)
    return table[order]


def _table(
    writer: Writer,
    values: NDArray[Any],
    table: NDArray[Any],
    kind: np.dtype[Any],
    shape: tuple[int, int],
) -> None:
    by_bits = np.argsort(table, kind="stable")
    indices = by_bits[np.searchsorted(table[by_bits], values)]
    writer.number(TABLE)
    writer.number(len(table))
    _array(writer, table, kind, nesting=2)
    writer.symbols(indices.reshape(shape), len(table))


def _is_sparse(values: NDArray[Any]) -> bool:
    return bool(np.count_nonzero(values) < (1 - MIN_ZEROS) * values.size)


def _masked(
    writer: Writer,
    values: NDArray[Any],
    kind: np.dtype[Any],
    shape: tuple[int, int],
    nesting: int,
) -> None:
    mask = values != 0
    writer.number(MASKED)
    writer.symbols(mask.astype(np.int64).reshape(shape), 2)
    _array(writer, values[mask], kind, nesting=nesting + 1)


def _planes(writer: Writer, values: NDArray[Any], shape: tuple[int, int]) -> None:
    writer.number(PLANES)
    planes = values.view(np.uint8).reshape(-1, values.itemsize).T
    for plane in planes:
        writer.symbols(plane.reshape(shape) if len(planes) == 1 else plane, 256)


def _nibbles(writer: Writer, values: NDArray[Any], shape: tuple[int, int]) -> None:
    halves = np.stack([values & 15, values >> 4], axis=1)
    writer.number(NIBBLES)
    writer.symbols(halves.reshape(shape[0], -1), 16)


def _may_repeat(values: NDArray[Any], table: NDArray[Any] | None) -> bool:
    """Tell whether deflating is worth a trial."""
    return MAX_RAW_BYTES < values.nbytes <= (MAX_DEFLATE_BYTES if table is None else 1 << 16)


def _deflate(writer: Writer, values: NDArray[Any]) -> None:
    data = _deflated(values.tobytes())
    writer.number(DEFLATE)
    writer.number(len(data))
    writer.program += data
