"""Graphs of large models: their weights are in files beside them, and are mapped, not copied.

While such a graph is changed, ONNX's external data name each file by its full path. Passes read
weights with `array_of`; ONNX Runtime reads a graph through `save_graph` or `session_source`.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from search.artefact.packed_form.unpack import PAGE, as_bytes

MAX_INSIDE_BYTES = 1 << 26
"""Weights of a model, in bytes, that are in its graph. A graph is copied again and again, and more
weights would cost more memory than files cost time."""
MIN_OUTSIDE_BYTES = PAGE
"""Smaller tensors stay in the graph."""


@contextmanager
def weights_folder(model: nn.Module, folder: Path) -> Iterator[Path | None]:
    """Make a folder for the weights of a large model, inside the block; None for a small model.

    Args:
        model: The model; tensors that it has twice count once.
        folder: Where the folder is made. One that a killed process has left there is deleted.
    """
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    made = folder / "weights"
    shutil.rmtree(made, ignore_errors=True)
    if size <= MAX_INSIDE_BYTES:
        yield None
        return
    made.mkdir()
    try:
        yield made.resolve()
    finally:
        shutil.rmtree(made, ignore_errors=True)


def array_of(tensor: TensorProto) -> NDArray[Any]:
    """Return the values of a tensor of any shape; those in a file are mapped for reading."""
    if not is_outside(tensor):
        inside: NDArray[Any] = numpy_helper.to_array(tensor)
        return inside
    kept = {entry.key: entry.value for entry in tensor.external_data}
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    offset, shape = int(kept.get("offset", 0)), tuple(tensor.dims)
    values: NDArray[Any] = np.memmap(kept["location"], kind, "r", offset, shape)
    return values


def is_outside(tensor: TensorProto) -> bool:
    """Tell whether the values of a tensor are in a file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def keep_outside(values: Mapping[str, NDArray[Any]], folder: Path) -> list[TensorProto]:
    """Return tensors whose values, of any shapes, are in a new file in a folder if they are large.

    Args:
        values: By the name of the tensor.
        folder: Is there already.
    """
    path = fresh(folder, ".weights")
    tensors = []
    with path.open("wb") as file:
        for name, array in values.items():
            if array.nbytes < MIN_OUTSIDE_BYTES:
                tensors.append(numpy_helper.from_array(array, name))
                continue
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
            file.write(bytes(-file.tell() % PAGE))
            name_place(tensor, str(path), file.tell(), array.nbytes)
            file.write(as_bytes(array))
            tensors.append(tensor)
    return tensors


def name_place(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Say in a tensor, in place, that its values are in a file."""
    for field in ("raw_data", "external_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def folder_of(model: onnx.ModelProto) -> Path | None:
    """Return the folder of the files of a graph's weights; None if it has no such files."""
    found = next(iter(_locations(model)), None)
    return None if found is None else Path(found.value).parent


def fresh(folder: Path, suffix: str) -> Path:
    """Return a new and empty file in a folder."""
    descriptor, name = mkstemp(suffix, dir=folder)
    os.close(descriptor)
    return Path(name)


def session_source(model: onnx.ModelProto) -> bytes | str:
    """Return what ONNX Runtime opens a graph from: its bytes, or a file beside its weights."""
    folder = folder_of(model)
    if folder is None:
        whole: bytes = model.SerializeToString()
        return whole
    path = fresh(folder, ".onnx")
    save_graph(model, path)
    return str(path)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph into the folder of its weights, if it has one."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for entry in _locations(copy):
        entry.value = Path(entry.value).name
    path.write_bytes(copy.SerializeToString())


def load_graph(path: Path) -> onnx.ModelProto:
    """Return the graph of a file, with its weights in the files beside it."""
    model = onnx.load(path, load_external_data=False)
    for entry in _locations(model):
        entry.value = str(path.with_name(entry.value))
    return model


def _locations(model: onnx.ModelProto) -> Iterator[onnx.StringStringEntryProto]:
    for tensor in filter(is_outside, model.graph.initializer):
        yield from (entry for entry in tensor.external_data if entry.key == "location")
