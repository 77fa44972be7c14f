"""Fold batch-normalisation into the convolution or linear layer before it, on the ONNX graph."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from compressors.weights.encoded import CodedWeight

Array = NDArray[np.float32]


def fold_batch_norms(
    model: onnx.ModelProto, codes: Mapping[str, CodedWeight]
) -> dict[str, CodedWeight]:
    """Fold in place and return the codes, those of folded weights with their rows rescaled.

    A batch-normalisation multiplies each row of the weight before it and shifts its bias (Jacob
    et al., 2018, arXiv:1712.05877). An encoded weight takes the scale into the factor of its rows,
    so that the new weight is again exactly what its code decodes to. A layer whose output has
    another user keeps its batch-normalisation.
    """
    graph = model.graph
    folded = dict(codes)
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    makers = {node.output[0]: node for node in graph.node}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        layer = makers.get(norm.input[0])
        if layer is not None and _foldable(layer, graph) and uses[norm.input[0]] == 1:
            _fold(graph, layer, norm, folded)
    _drop_unused(graph)
    return folded


def _foldable(layer: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    constants = {tensor.name for tensor in graph.initializer}
    if not constants.issuperset(layer.input[1:]):
        return False
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in layer.attribute}
    plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
    linear = layer.op_type == "Gemm" and attributes.get("transB") == 1 and plain
    return layer.op_type == "Conv" or linear


def _fold(
    graph: onnx.GraphProto,
    layer: onnx.NodeProto,
    norm: onnx.NodeProto,
    codes: dict[str, CodedWeight],
) -> None:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    gamma, beta, mean, variance = (
        numpy_helper.to_array(tensors[name]).astype(np.float64) for name in norm.input[1:5]
    )
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    name = layer.input[1]
    weight = numpy_helper.to_array(tensors[name])
    bias = numpy_helper.to_array(tensors[layer.input[2]]) if len(layer.input) > 2 else 0.0
    fresh = f"{name}|{norm.output[0]}"
    if name in codes:
        factor = (codes[name].factor * scale[:, None]).astype(np.float32)
        codes[fresh] = replace(codes[name], factor=factor)
        weight = codes[fresh].decode()
    else:
        rows = scale.reshape(-1, *[1] * (weight.ndim - 1))
        weight = (weight * rows).astype(np.float32) + np.float32(0)
    shift = (bias - mean) * scale + beta
    graph.initializer.extend(
        [
            numpy_helper.from_array(weight, fresh),
            numpy_helper.from_array(shift.astype(np.float32), f"{fresh}.bias"),
        ]
    )
    del layer.input[1:]
    layer.input.extend([fresh, f"{fresh}.bias"])
    layer.output[0] = norm.output[0]
    graph.node.remove(norm)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    used.update(value.name for value in graph.output)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
