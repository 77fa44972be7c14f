"""Store a tensor once where a graph has it several times, transposed, in another shape or type."""

from hashlib import sha256
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from search.artefact.onnx_form.outside import array_of
from search.artefact.onnx_form.rewriting.graph_parts import keep_initialisers
from search.artefact.packed_form.unpack import as_bytes

MIN_BYTES = 1024
"""Least size of a tensor that nodes may replace; below it they may be the larger."""
MIDDLE = 128
"""What signed bytes lack to be unsigned ones with this zero point."""


def share_tensors(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with each tensor that repeats another one made from that.

    A head that is tied to an embedding is its transpose, in 8 bits with another zero point; packed
    blocks are packed rows in another shape. A runtime computes constants once, when it loads the
    file.
    """
    shared = onnx.ModelProto()
    shared.CopyFrom(model)
    graph = shared.graph
    known: dict[bytes, onnx.TensorProto] = {}
    transposes: dict[bytes, onnx.TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        values = array_of(tensor)
        if values.nbytes < MIN_BYTES:
            continue
        key = _digest(values)
        if key in known:
            nodes += _made(graph, known[key], tensor, turned=False)
        elif key in transposes and transposes[key].dims[::-1] == list(tensor.dims):
            nodes += _made(graph, transposes[key], tensor, turned=True)
        else:
            known[key] = tensor
            if values.ndim == 2:
                transposes[_digest(values.T)] = tensor
    made = {node.output[0] for node in nodes}
    keep_initialisers(graph, lambda name: name not in made)
    others = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *others])
    return shared


def _digest(values: NDArray[Any]) -> bytes:
    """Return what tells arrays apart; unsigned bytes equal signed ones around `MIDDLE`."""
    if values.dtype == np.uint8:
        values = (values ^ np.uint8(MIDDLE)).view(np.int8)
    digest = sha256(values.dtype.str.encode())
    digest.update(as_bytes(values))
    return digest.digest()


def _made(
    graph: onnx.GraphProto, source: onnx.TensorProto, tensor: onnx.TensorProto, *, turned: bool
) -> list[onnx.NodeProto]:
    """Return the nodes that make one initialiser of another one."""
    steps: list[tuple[str, NDArray[Any] | None, dict[str, int]]] = []
    if source.data_type != tensor.data_type:
        sign = 1 if tensor.data_type == TensorProto.UINT8 else -1
        steps += [
            ("Cast", None, {"to": TensorProto.INT32}),
            ("Add", np.array(sign * MIDDLE, np.int32), {}),
            ("Cast", None, {"to": tensor.data_type}),
        ]
    if turned:
        steps.append(("Transpose", None, {}))
    elif source.dims != tensor.dims:
        steps.append(("Reshape", np.array(tensor.dims, np.int64), {}))
    nodes, last = [], source.name
    for number, (kind, constant, attributes) in enumerate(steps or [("Identity", None, {})]):
        inputs, output = [last], f"{tensor.name}.{number}"
        if constant is not None:
            inputs.append(f"{output}.with")
            graph.initializer.append(numpy_helper.from_array(constant, inputs[1]))
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        last = output
    nodes[-1].output[0] = tensor.name
    return nodes
