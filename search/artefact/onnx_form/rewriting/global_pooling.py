"""Write means over all pixels as global average pooling, for which there is an integer kernel."""

import onnx
from onnx import helper, numpy_helper, shape_inference

from search.artefact.onnx_form.rewriting.graph_parts import attributes_of


def pool_means(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which means `[B, C, ...]` -> `[B, C]` over all further axes are poolings."""
    pooled = shape_inference.infer_shapes(model)
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in _values(pooled.graph)}
    constants = {tensor.name: tensor for tensor in pooled.graph.initializer}
    nodes = []
    for node in pooled.graph.node:
        rank = ranks.get(node.input[0], 0) if node.op_type == "ReduceMean" else 0
        whole = rank > 2 and _axes(node, rank, constants) == list(range(2, rank))
        nodes.extend(_pooling(node) if whole else [node])
    del pooled.graph.node[:]
    pooled.graph.node.extend(nodes)
    return pooled


def _values(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    values = [*graph.input, *graph.value_info]
    return [value for value in values if value.type.tensor_type.HasField("shape")]


def _axes(node: onnx.NodeProto, rank: int, constants: dict[str, onnx.TensorProto]) -> list[int]:
    """Return the axes of a mean, which later operator sets give as an input; none if unknown."""
    axes = attributes_of(node).get("axes", [])
    if len(node.input) > 1 and node.input[1] in constants:
        axes = numpy_helper.to_array(constants[node.input[1]])
    return sorted(int(axis) % rank for axis in axes)


def _pooling(mean: onnx.NodeProto) -> list[onnx.NodeProto]:
    if attributes_of(mean).get("keepdims", 1):
        return [helper.make_node("GlobalAveragePool", mean.input[:1], mean.output, mean.name)]
    maps = f"{mean.output[0]}_maps"
    return [
        helper.make_node("GlobalAveragePool", mean.input[:1], [maps], mean.name),
        helper.make_node("Flatten", [maps], mean.output, f"{mean.name}_flat"),
    ]
