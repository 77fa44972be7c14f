"""Store a tensor once where a graph has it several times, transposed or in another shape."""

from hashlib import sha256
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from search.artefact.onnx_form.graph_parts import keep_initialisers

MIN_BYTES = 1024
"""Least size of a tensor that a node may replace; below it the node may be the larger."""


def share_tensors(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with each tensor that repeats another one made from that.

    A head that is tied to an embedding is its transpose; packed blocks are packed rows in another
    shape. A runtime computes constants once, when it loads the file.
    """
    shared = onnx.ModelProto()
    shared.CopyFrom(model)
    graph = shared.graph
    known: dict[bytes, onnx.TensorProto] = {}
    transposes: dict[bytes, onnx.TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.nbytes < MIN_BYTES:
            continue
        key = _digest(values)
        if key in known:
            nodes.append(_reshaped(graph, known[key], tensor))
        elif key in transposes and transposes[key].dims[::-1] == list(tensor.dims):
            nodes.append(helper.make_node("Transpose", [transposes[key].name], [tensor.name]))
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
    return sha256(values.dtype.str.encode() + np.ascontiguousarray(values).tobytes()).digest()


def _reshaped(
    graph: onnx.GraphProto, source: onnx.TensorProto, tensor: onnx.TensorProto
) -> onnx.NodeProto:
    """Return the node that gives the values of an initialiser the shape of another one."""
    if source.dims == tensor.dims:
        return helper.make_node("Identity", [source.name], [tensor.name])
    shape = numpy_helper.from_array(np.array(tensor.dims, np.int64), f"{tensor.name}.shape")
    graph.initializer.append(shape)
    return helper.make_node("Reshape", [source.name, shape.name], [tensor.name])
