"""The ship form: the run-form file, without loss, each of its tensors in its smallest form.

The data of the initialisers is cut out of the serialised file, or read from the data file beside
it, and encoded separately; the rest is deflated. `unpack.py` is the reader.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compressors.weights.encoded import CodedWeight
from search.artefact.packed_form.array_forms import deflated
from search.artefact.packed_form.coded_rows import CodedRows
from search.artefact.packed_form.tensor_forms import write_tensor
from search.artefact.packed_form.unpack import (
    DATA_FILE,
    DATA_TYPE,
    DICTIONARY,
    DIMS,
    GRAPH,
    INITIALISER,
    MAGIC,
    RAW_DATA,
    Buffer,
    CorruptFileError,
    Packed,
    Piece,
    Seal,
    field,
    fields,
    forget,
    mapped,
    read_varint,
    stored,
    varint,
)
from search.artefact.packed_form.writer import Writer
from search.utils.heap import return_free_memory


def pack_file(run_path: Path, ship_path: Path, codes: Iterable[CodedWeight]) -> None:
    """Write the packed file of an ONNX file, and read it back to see that it restores the same.

    Args:
        run_path: The ONNX file; its data file, if it has one, is beside it.
        ship_path: Where the packed file is written.
        codes: As in `pack`.
    """
    beside = run_path.with_name(DATA_FILE)
    with mapped(run_path) as model:
        if beside.exists():
            with mapped(beside) as data:
                _write(ship_path, packed_parts(model, codes, data))
                size = len(model) + len(data)
        else:
            _write(ship_path, packed_parts(model, codes, b""))
            size = len(model)
    return_free_memory()
    with mapped(ship_path) as packed:
        _check(packed, size)


def restores(ship_path: Path, run_path: Path) -> bool:
    """Return whether a packed file restores an ONNX file, and the data file if there is one.

    Raises:
        CorruptFileError: The packed file is damaged.
    """
    paths = [path for path in (run_path, run_path.with_name(DATA_FILE)) if path.exists()]
    size = sum(path.stat().st_size for path in paths)
    with mapped(ship_path) as packed, ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in paths]
        for content, outside in Packed(packed, size).pieces():
            if outside >= len(files) or files[outside].read(len(content)) != content:
                return False
        return not any(file.read(1) for file in files)


def pack(onnx_bytes: Buffer, codes: Iterable[CodedWeight], data: Buffer = b"") -> bytes:
    """Return the packed file, from which `unpack.unpack` restores exactly `onnx_bytes`.

    Args:
        onnx_bytes: The content of the ONNX file.
        codes: Codes of the weights that the file was made of. Encoded weights are then stored as
            their integers; without codes the result is as exact, only larger.
        data: The content of its data file.
    """
    packed = b"".join(packed_parts(onnx_bytes, codes, data))
    _check(packed, len(onnx_bytes) + len(data))
    return packed


def _write(path: Path, parts: Iterable[Buffer]) -> None:
    with path.open("wb") as file:
        file.writelines(parts)


def packed_parts(onnx_bytes: Buffer, codes: Iterable[CodedWeight], data: Buffer) -> list[Buffer]:
    """Return what a packed file is made of, one part after the other; see `pack`."""
    rows = CodedRows(codes)
    writer = Writer()

    def without_data(tensor: Buffer) -> bytes:
        lean, values = _split(tensor, data)
        if values is None:
            return bytes(tensor)
        write_tensor(writer, values, rows)
        writer.encode()
        forget(data or tensor)
        return lean

    graph = b"".join(_lean(onnx_bytes, without_data))
    program = bytes(writer.program)
    body = [varint(len(program)), program, deflated(graph, DICTIONARY), writer.words()]
    seal = Seal(*body)
    for content, outside in ((onnx_bytes, False), (data, True)):
        if content:
            seal.add(Piece(content, outside))
    return [MAGIC, seal.value(), *body]


def _check(packed: Buffer, size: int) -> None:
    """Unpack to see that the digest is that of the files which were packed."""
    try:
        for _ in Packed(packed, size).pieces():
            pass
    except CorruptFileError as error:
        message = "the packed model does not unpack to the file it was made of"
        raise AssertionError(message) from error


def _lean(model: Buffer, change: Callable[[Buffer], bytes]) -> Iterator[Buffer]:
    """Yield a serialised ONNX model with each initialiser of its graph replaced."""
    for number, whole, content in fields(model):
        if number == GRAPH:
            yield field(GRAPH, b"".join(_lean_graph(content, change)))
        else:
            yield whole


def _lean_graph(graph: Buffer, change: Callable[[Buffer], bytes]) -> Iterator[Buffer]:
    for number, whole, content in fields(graph):
        yield field(INITIALISER, change(content)) if number == INITIALISER else whole


def _split(tensor: Buffer, data: Buffer) -> tuple[bytes, NDArray[Any] | None]:
    """Return a serialised initialiser without its data, and its values; None if they stay in it."""
    found = {number: content for number, _, content in fields(tensor)}
    lean = b"".join(whole for number, whole, _ in fields(tensor) if number != RAW_DATA)
    lacking = stored(lean)
    if lacking is None:
        return lean, None
    inside = lacking.offset is None
    raw = found.get(RAW_DATA, b"") if inside else data[lacking.offset :][: lacking.size]
    if len(raw) != lacking.size:
        return lean, None
    kind = onnx.helper.tensor_dtype_to_np_dtype(read_varint(found[DATA_TYPE], 0)[0])
    dims = [read_varint(size, 0)[0] for number, _, size in fields(tensor) if number == DIMS]
    return lean, np.frombuffer(raw, kind).reshape(dims)
