"""The forms in which a tensor is written: as the code of its rows, or as an array."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.array_forms import UnsignedArray, write_array
from search.artefact.packed_form.coded_rows import CodedRows, CodedTensor
from search.artefact.packed_form.unpack import CODED, MAX_ALPHABET, TABLE
from search.artefact.packed_form.writer import Writer


def write_tensor(writer: Writer, tensor: NDArray[Any], rows: CodedRows) -> None:
    """Write a tensor of any shape in its smallest form, exact to the bit.

    Encoded weights become integers and scales; few distinct values a table and indices; many
    zeros a mask and the rest; anything else is split into its byte planes or deflated.

    Args:
        writer: Receives the tensor.
        tensor: Values of any type and shape.
        rows: The rows of the encoded weights.
    """
    coded = rows.find(tensor)
    if coded is not None:
        writer.smallest([partial(_write_code, coded=form) for form in _equal_codes(coded)])
        return
    unsigned = np.ascontiguousarray(tensor).reshape(-1).view(f"<u{tensor.itemsize}")
    matrix = _matrix_shape(tensor.shape)
    write_array(writer, UnsignedArray(values=unsigned, kind=tensor.dtype, shape=matrix))


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape `(rows, columns)` of the matrix as which a tensor is coded.

    A row holds the weights of one output, where the tensor has outputs.
    """
    if len(shape) < 2:
        return 1, int(np.prod(shape))
    if len(shape) == 3 and shape[0] <= 2:
        return shape[0] * shape[1], shape[2]
    return shape[0], int(np.prod(shape[1:]))


def _equal_codes(coded: CodedTensor) -> list[CodedTensor]:
    """Return a code and, if its zero points are integers, the equal code with zero points of 0."""
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


def _write_code(writer: Writer, coded: CodedTensor) -> None:
    """Write a code; one without offsets and scales is a table and its indices."""
    bare = not (coded.offset.any() or coded.transposed or np.any(coded.factor != 1))
    writer.number(TABLE if bare else CODED)
    if not bare:
        group = 0 if coded.factor.shape[1] == 1 else coded.group
        for number in (int(coded.transposed), len(coded.indices), group):
            writer.number(number)
    writer.number(len(coded.levels))
    for values in [coded.levels] if bare else [coded.levels, coded.offset, coded.factor]:
        write_array(writer, UnsignedArray.of_floats(values.reshape(-1)))
    writer.symbols(coded.indices, len(coded.levels))
