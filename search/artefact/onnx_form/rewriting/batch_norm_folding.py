"""Fold batch-normalisation into the convolution or linear layer before it, on the ONNX graph."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from compressors.weights.encoded import CodedWeight
from search.artefact.onnx_form.outside import array_of
from search.artefact.onnx_form.rewriting.graph_parts import (
    attributes_of,
    has_unit_factors,
    keep_initialisers,
)

FOLDED = "|"
"""Stands between the name of a weight and that of the batch-normalisation folded into it."""


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
    folding = _Folding(graph=graph, codes=dict(codes))
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    makers = {node.output[0]: node for node in graph.node}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        layer = makers.get(norm.input[0])
        if layer is not None and _foldable(layer, graph) and uses[norm.input[0]] == 1:
            folding.fold(layer, norm)
    _drop_unused(graph)
    return folding.codes


def _foldable(layer: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    constants = {tensor.name for tensor in graph.initializer}
    if not constants.issuperset(layer.input[1:]):
        return False
    transposed = attributes_of(layer).get("transB") == 1
    linear = layer.op_type == "Gemm" and transposed and has_unit_factors(layer)
    return layer.op_type == "Conv" or linear


@dataclass(frozen=True, kw_only=True)
class _Folding:
    """A graph under change and the codes of its weights by name."""

    graph: onnx.GraphProto
    codes: dict[str, CodedWeight]

    def fold(self, layer: onnx.NodeProto, norm: onnx.NodeProto) -> None:
        """Give a layer new weights, a new bias and the output of its batch-normalisation."""
        gamma, beta, mean, variance = (
            self._array(name).astype(np.float64) for name in norm.input[1:5]
        )
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + epsilon)
        bias = self._array(layer.input[2]) if len(layer.input) > 2 else 0.0
        shift = ((bias - mean) * scale + beta).astype(np.float32)
        # Another batch-normalisation may follow the same weight elsewhere.
        name = f"{layer.input[1]}{FOLDED}{norm.output[0]}"
        weight = self._scaled(layer.input[1], name, scale)
        self.graph.initializer.extend(
            [numpy_helper.from_array(weight, name), numpy_helper.from_array(shift, f"{name}.bias")]
        )
        del layer.input[1:]
        layer.input.extend([name, f"{name}.bias"])
        layer.output[0] = norm.output[0]
        self.graph.node.remove(norm)

    def _scaled(self, name: str, fresh: str, scale: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return a weight with its rows multiplied by `[R]`, and keep its code under a new name."""
        if name in self.codes:
            factor = (self.codes[name].factor * scale[:, None]).astype(np.float32)
            self.codes[fresh] = replace(self.codes[name], factor=factor)
            return self.codes[fresh].decode()
        weight = self._array(name)
        rows = scale.reshape(-1, *[1] * (weight.ndim - 1))
        return (weight * rows).astype(np.float32) + np.float32(0)

    def _array(self, name: str) -> NDArray[np.float32]:
        array: NDArray[np.float32] = array_of(_constant(self.graph, name))
        return array


def _constant(graph: onnx.GraphProto, name: str) -> onnx.TensorProto:
    """Return an initialiser, or the value of a Constant node, as which affine-free norms come."""
    for tensor in graph.initializer:
        if tensor.name == name:
            return tensor
    [node] = [n for n in graph.node if n.op_type == "Constant" and n.output[0] == name]
    found: onnx.TensorProto = attributes_of(node)["value"]
    return found


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    used.update(value.name for value in graph.output)
    keep_initialisers(graph, used.__contains__)
