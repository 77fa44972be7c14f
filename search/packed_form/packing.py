"""The ship form: the run-form file, without loss, with pruned, shared and low-bit weights packed.

Every initialiser is cut out of the serialised file and encoded on its own; what is left are
literal bytes. `unpack.py` is the decoder.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compressors.coding import CodedWeight
from search.packed_form.coded_rows import CodedRows, CodedTensor
from search.packed_form.symbol_coding import Writer
from search.packed_form.unpack import CODED, MAGIC, PLANES, RANGE, RAW, SPARSE, TABLE, unpack

MIN_TENSOR_BYTES = 16
"""Smaller tensors stay among the literal bytes."""
MIN_SPLIT_BYTES = 64
"""Smaller tensors are left as they are."""
MAX_TABLE = 1 << 12
"""A tensor with more distinct values is not encoded through a table of them."""
MIN_ZEROS = 0.03
"""The least share of zeros for which a mask pays."""


def pack(onnx_bytes: bytes, codes: Iterable[CodedWeight]) -> bytes:
    """Return the packed file, from which `unpack.unpack` gives exactly `onnx_bytes`.

    With the `codes` of the weights that the file was made of, encoded weights are stored as their
    integers; without them the result is as exact, only larger.
    """
    rows = CodedRows(codes)
    program, tensors, position = Writer(), Writer(), 0
    places = list(_initialisers(onnx_bytes))
    for start, tensor in places:
        tensors.blob(onnx_bytes[position:start])
        tensors.extend(encode_tensor(tensor, rows))
        position = start + tensor.nbytes
    tensors.blob(onnx_bytes[position:])
    program.number(len(places))
    program.extend(tensors)
    body = program.finish()
    packed = MAGIC + sha256(body + onnx_bytes).digest() + body
    if unpack(packed) != onnx_bytes:
        raise AssertionError("the packed model does not unpack to the file it was made of")
    return packed


def _initialisers(onnx_bytes: bytes) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield where the raw data of each initialiser starts in the file, and its values."""
    position = 0
    for tensor in onnx.load_from_string(onnx_bytes).graph.initializer:
        if len(tensor.raw_data) >= MIN_TENSOR_BYTES:
            start = onnx_bytes.index(tensor.raw_data, position)
            position = start + len(tensor.raw_data)
            yield start, _values(tensor)


def _values(tensor: onnx.TensorProto) -> NDArray[Any]:
    """Return a tensor's values, or its bytes where numpy has no type of that size."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    shape = tuple(tensor.dims)
    if kind.itemsize * int(np.prod(shape)) != len(tensor.raw_data):
        return np.frombuffer(tensor.raw_data, np.uint8)
    return np.frombuffer(tensor.raw_data, kind).reshape(shape)


def encode_tensor(tensor: NDArray[Any], rows: CodedRows) -> Writer:
    """Return the program of one tensor, exact to the bit.

    Encoded weights become integers and scales; few distinct values a table and indices; many
    zeros a mask and the rest; anything else is split into its byte planes, or left as it is.
    """
    coded = rows.find(tensor)
    return _coded(coded) if coded is not None else _plain(tensor)


def _plain(tensor: NDArray[Any]) -> Writer:
    values = np.ascontiguousarray(tensor).reshape(-1).view(f"<u{tensor.itemsize}")
    if values.nbytes < MIN_SPLIT_BYTES:
        return _raw(values)
    table = _distinct(values)
    if table is not None:
        return _table(values, table)
    if np.count_nonzero(values) < (1 - MIN_ZEROS) * values.size:
        return _sparse(values)
    return _planes(values)


def _raw(values: NDArray[Any]) -> Writer:
    writer = Writer()
    writer.number(RAW)
    writer.blob(values.tobytes())
    return writer


def _distinct(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return the distinct values, sorted, where a table of them can pay."""
    limit = min(MAX_TABLE, values.size // 2)
    for sample in (values[: 4 * MAX_TABLE], values):
        table = np.unique(sample)
        if len(table) > limit:
            return None
    return table


def _table(values: NDArray[Any], table: NDArray[Any]) -> Writer:
    writer = Writer()
    writer.number(TABLE)
    writer.blob(table.tobytes())
    writer.number(values.itemsize)
    writer.symbols(np.searchsorted(table, values), len(table))
    return writer


def _sparse(values: NDArray[Any]) -> Writer:
    mask = values != 0
    writer = Writer()
    writer.number(SPARSE)
    writer.symbols(mask.astype(np.int64), 2)
    writer.extend(_plain(values[mask]))
    writer.number(values.itemsize)
    return writer


def _planes(values: NDArray[Any]) -> Writer:
    writer = Writer()
    writer.number(PLANES)
    writer.number(values.itemsize)
    for plane in values.view(np.uint8).reshape(-1, values.itemsize).T:
        writer.symbols(plane.astype(np.int64), 256)
    return writer


def _coded(coded: CodedTensor) -> Writer:
    writer = Writer()
    writer.number(CODED)
    writer.number(len(coded.indices))
    writer.number(int(coded.transposed))
    writer.extend(_levels(coded.levels))
    writer.extend(_plain(coded.offset))
    writer.extend(_plain(coded.factor))
    writer.symbols(coded.indices.reshape(-1), len(coded.levels))
    return writer


def _levels(levels: NDArray[np.float32]) -> Writer:
    """Write the integers of a quantiser as a range, the centroids of a codebook as they are."""
    whole = np.arange(len(levels), dtype=np.float32) + levels[0]
    if abs(levels[0]) > 1 << 20 or levels[0] % 1 or whole.tobytes() != levels.tobytes():
        return _plain(levels)
    first = int(levels[0])
    writer = Writer()
    for number in (RANGE, abs(first), int(first < 0), len(levels)):
        writer.number(number)
    return writer
