"""Order the hidden units of linear layers so that their weights are packed smaller."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from compressors.weights.encoded import CodedWeight
from search.artefact.onnx_form.outside import array_of
from search.artefact.onnx_form.rewriting.graph_parts import attributes_of

UNITWISE = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Softplus", "HardSwish", "Clip", "Erf")
"""Operators that apply the same function to every unit separately."""
WITH_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
"""Types of attributes whose graphs may use any value of the surrounding graph."""
MIN_ZEROS = 0.6
"""Least share of zeros in the outgoing weights; with fewer there is no pattern to order by."""


def order_units(model: onnx.ModelProto, codes: Mapping[str, CodedWeight]) -> dict[str, CodedWeight]:
    """Order units between two linear layers in place; return the codes, ordered alike.

    The order of hidden units does not change what a network computes, except for the rounding of
    sums. Units are sorted by the signs of their outgoing weights, so that units which reach the
    same outputs are neighbours and the mask of the second layer falls into runs.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    ordered = dict(codes)
    for first, second in _pairs(model.graph, set(tensors)):
        outgoing = array_of(tensors[second.input[1]])
        grouped = second.input[1] in codes and codes[second.input[1]].factor.shape[1] > 1
        if grouped or np.count_nonzero(outgoing) > (1 - MIN_ZEROS) * outgoing.size:
            continue
        order = np.lexsort(np.sign(outgoing)[::-1])
        for name in first.input[1:]:
            _reorder(tensors[name], ordered, order, axis=0)
        _reorder(tensors[second.input[1]], ordered, order, axis=1)
    return ordered


def _pairs(
    graph: onnx.GraphProto, constants: set[str]
) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Yield pairs of linear layers with only unitwise operators and no other user between."""
    if any(a.type in WITH_GRAPHS for node in graph.node for a in node.attribute):
        return
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    users = {name: node for node in graph.node for name in node.input}
    for first in graph.node:
        user = users.get(first.output[0])
        while user is not None and user.op_type in UNITWISE and uses[user.input[0]] == 1:
            user = users.get(user.output[0]) if uses[user.output[0]] == 1 else None
        if user is None or uses[first.output[0]] != 1:
            continue
        if all(_is_linear(node, constants, uses) for node in (first, user)):
            yield first, user


def _is_linear(node: onnx.NodeProto, constants: set[str], uses: Counter[str]) -> bool:
    """Return whether a node is `x @ W.T + b` with weights that no other node uses."""
    attributes = attributes_of(node)
    plain = attributes.get("transB") == 1 and not attributes.get("transA", 0)
    own = all(name in constants and uses[name] == 1 for name in node.input[1:])
    return node.op_type == "Gemm" and plain and own and node.input[0] not in constants


def _reorder(
    tensor: onnx.TensorProto,
    codes: dict[str, CodedWeight],
    order: NDArray[np.intp],
    *,
    axis: int,
) -> None:
    """Bring the rows or columns of a tensor, and those of its code, into another order."""
    values = np.ascontiguousarray(array_of(tensor).take(order, axis))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    if tensor.name not in codes:
        return
    code = codes[tensor.name]
    indices = code.indices.reshape(code.shape).take(order, axis).reshape(code.indices.shape)
    changed = replace(code, indices=indices)
    if axis == 0 and len(code.shape) > 1:
        changed = replace(changed, offset=code.offset[order], factor=code.factor[order])
    codes[tensor.name] = changed
