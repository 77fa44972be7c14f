"""The ship form: the run-form file, without loss, each of its tensors in its smallest form.

The data of the initialisers is cut out of the serialised file and encoded separately; the rest is
deflated. `unpack.py` is the reader.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compressors.weights.encoded import CodedWeight
from search.artefact.packed_form.array_forms import deflated
from search.artefact.packed_form.coded_rows import CodedRows
from search.artefact.packed_form.tensor_forms import write_tensor
from search.artefact.packed_form.unpack import (
    DICTIONARY,
    MAGIC,
    RAW_DATA,
    digest,
    fields,
    map_initialisers,
    stored_size,
    unpack,
    varint,
)
from search.artefact.packed_form.writer import Writer


def pack(onnx_bytes: bytes, codes: Iterable[CodedWeight]) -> bytes:
    """Return the packed file, from which `unpack.unpack` restores exactly `onnx_bytes`.

    Args:
        onnx_bytes: The content of the ONNX file.
        codes: Codes of the weights that the file was made of. Encoded weights are then stored as
            their integers; without codes the result is as exact, only larger.
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
    body += deflated(graph, DICTIONARY) + writer.words()
    packed = MAGIC + digest(body, onnx_bytes) + body
    if unpack(packed) != onnx_bytes:
        raise AssertionError("the packed model does not unpack to the file it was made of")
    return packed


def _values(tensor: onnx.TensorProto) -> NDArray[Any]:
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.frombuffer(tensor.raw_data, kind).reshape(tuple(tensor.dims))
