"""Store a graph as the run form: one file, or a file and the data of its weights beside it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from search.artefact.onnx_form.outside import (
    MIN_OUTSIDE_BYTES,
    array_of,
    is_outside,
    name_place,
)
from search.artefact.onnx_form.rewriting.canonical import canonical
from search.artefact.onnx_form.rewriting.shared_tensors import share_tensors
from search.artefact.packed_form.unpack import (
    DATA_FILE,
    GRAPH,
    INITIALISER,
    ITEM_SIZES,
    LIMIT_BYTES,
    PAGE,
    Buffer,
    Stored,
    as_bytes,
    fields,
    head,
    with_head,
)

MAX_FILE_BYTES = LIMIT_BYTES
"""Largest single file, which `unpack` restores by default, a quarter of what protobuf can hold."""


def write_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write the canonical form of a graph, each tensor once.

    Weights that make the file larger than `MAX_FILE_BYTES` are in a data file beside it.

    Args:
        graph: The graph; its weights may be outside.
        path: The file, which is replaced.
    """
    lean = canonical(share_tensors(graph))
    beside = path.with_name(DATA_FILE)
    beside.unlink(missing_ok=True)  # it may be mapped: a new file takes its place
    arrays = {t.name: array_of(t) for t in lean.graph.initializer if is_outside(t)}
    if lean.ByteSize() + sum(array.nbytes for array in arrays.values()) > MAX_FILE_BYTES:
        _move_outside(lean, beside)
        path.write_bytes(lean.SerializeToString(deterministic=True))
        return
    with path.open("wb") as file:
        file.writelines(_with_data(lean, arrays))


def _move_outside(lean: onnx.ModelProto, beside: Path) -> None:
    """Write the large tensors of a graph into a data file, and name their places, in place."""
    with beside.open("wb") as file:
        for tensor in lean.graph.initializer:
            if tensor.data_type not in ITEM_SIZES:
                continue
            array = array_of(tensor)
            if array.nbytes >= MIN_OUTSIDE_BYTES:
                file.write(bytes(-file.tell() % PAGE))
                name_place(tensor, DATA_FILE, file.tell(), array.nbytes)
                file.write(as_bytes(array))


def _with_data(lean: onnx.ModelProto, arrays: Mapping[str, NDArray[Any]]) -> Iterator[Buffer]:
    """Yield the serialised graph, with the data of its weights in it, tensor by tensor."""
    for tensor in lean.graph.initializer:
        if tensor.name in arrays:
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    values = [arrays.get(tensor.name) for tensor in lean.graph.initializer]
    for number, whole, content in fields(lean.SerializeToString(deterministic=True)):
        if number == GRAPH:
            parts = list(_graph_parts(content, iter(values)))
            yield head(GRAPH, sum(map(len, parts)))
            yield from parts
        else:
            yield whole


def _graph_parts(graph: Buffer, values: Iterator[NDArray[Any] | None]) -> Iterator[Buffer]:
    for number, whole, content in fields(graph):
        array = next(values) if number == INITIALISER else None
        if array is None:
            yield whole
        else:
            yield with_head(content, Stored(array.size, array.itemsize, None))
            yield as_bytes(array)
