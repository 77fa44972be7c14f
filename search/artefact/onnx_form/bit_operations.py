"""Count the bit operations of an ONNX graph: what its layers really multiply."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log2, prod

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from search.artefact.onnx_form.export import Feeds
from search.artefact.onnx_form.outside import array_of, session_source
from search.artefact.onnx_form.rewriting.graph_parts import attributes_of

FLOAT_BITS = 32
"""Bits of both factors where a layer multiplies floats."""
ACTIVATION_BITS = 8
"""Bits to which ONNX Runtime rounds activations before a product of integers."""
RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
COUNTED = (
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "MatMulInteger",
    "MatMulNBits",
    "Einsum",
    *RECURRENT,
)
"""Operators that multiply and accumulate."""


@dataclass(frozen=True, kw_only=True)
class LayerOperations:
    """What one layer of a graph computes for one example."""

    name: str
    macs: float
    """Multiply-accumulates."""
    weight_bits: int
    activation_bits: int

    @property
    def bit_operations(self) -> float:
        """Multiply-accumulates, times the bits of weights, times the bits of activations."""
        return self.macs * self.weight_bits * self.activation_bits


def layer_operations(model: onnx.ModelProto, example: Feeds) -> list[LayerOperations]:
    """Return the operations of each layer of a graph, in the graph's order.

    A layer counts as integers only if ONNX Runtime multiplies integers in it: what fell back to
    floats, and products of two activations, count 32 by 32 bits. The weight bits are those that
    the integers in the file span, `ceil(log2(max - min + 1))`: a weight on a grid of 15 steps has
    4 bits, whatever type it is stored in. Zeros count too.

    Args:
        model: The graph as it is in the file.
        example: One batch of inputs `[B, ...]`; the counts are divided by B.
    """
    graph = _Graph(model=model, example=example)
    return [
        LayerOperations(
            name=node.name,
            macs=graph.macs(node) / graph.batch,
            weight_bits=bits[0],
            activation_bits=bits[1],
        )
        for node in graph.layers
        if (bits := graph.bits(node))
    ]


def bit_operations(model: onnx.ModelProto, example: Feeds) -> float:
    """Return the bit operations (BOPs) of one example, summed over all layers.

    They are multiply-accumulates times weight bits times activation bits (van Baalen et al., 2020,
    Bayesian Bits, arXiv:2005.07093), counted on the file by `layer_operations`. The bits of the
    accumulator, which Baskin et al. (2018, UNIQ, arXiv:1804.10969) add, are left out.

    Args:
        model: The graph as it is in the file.
        example: One batch of inputs `[B, ...]`.

    Returns:
        0 for a graph in which no layer multiplies, such as embeddings alone.
    """
    return sum(layer.bit_operations for layer in layer_operations(model, example))


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """A graph with the shapes that its tensors have for one batch."""

    model: onnx.ModelProto
    example: Feeds

    @property
    def batch(self) -> int:
        """The number of examples."""
        return len(next(iter(self.example.values())))

    @cached_property
    def layers(self) -> list[onnx.NodeProto]:
        """The nodes that multiply and accumulate."""
        return [node for node in self.model.graph.node if node.op_type in COUNTED]

    @cached_property
    def constants(self) -> Mapping[str, onnx.TensorProto]:
        """The initialisers by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def makers(self) -> Mapping[str, onnx.NodeProto]:
        """The node that makes each tensor, by the tensor's name."""
        return {name: node for node in self.model.graph.node for name in node.output}

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of all inputs and outputs of the layers."""
        names = {n for node in self.layers for n in (*node.input, *node.output) if n}
        known = {n: tuple(self.constants[n].dims) for n in names if n in self.constants}
        return {**known, **_observed(self.model, self.example, sorted(names - set(known)))}

    def macs(self, node: onnx.NodeProto) -> int:
        """Return the multiply-accumulates of a layer for the whole batch."""
        first, second = (self.shapes[name] for name in node.input[:2])
        made = prod(self.shapes[next(name for name in node.output if name)])
        if node.op_type == "Conv":
            return made * prod(second[1:])
        if node.op_type == "ConvTranspose":
            return prod(first) * prod(second[1:])
        if node.op_type == "Einsum":
            return self._contracted(node)
        if node.op_type in RECURRENT:
            steps_and_batch = prod(first[:2])
            return steps_and_batch * (prod(second) + prod(self.shapes[node.input[2]]))
        turned = node.op_type == "Gemm" and attributes_of(node).get("transA", 0)
        return made * first[0 if turned else -1]

    def bits(self, node: onnx.NodeProto) -> tuple[int, int]:
        """Return the bits of the weights and of the activations that a layer multiplies."""
        if node.op_type == "MatMulNBits":
            return int(attributes_of(node)["bits"]), ACTIVATION_BITS
        if node.op_type == "MatMulInteger":
            return self._span(node.input[1]), ACTIVATION_BITS
        if node.op_type == "DynamicQuantizeLSTM":
            return max(map(self._span, node.input[1:3])), ACTIVATION_BITS
        sources = [self.makers.get(name) for name in node.input[:2]]
        restored = [s.input[0] for s in sources if s and s.op_type == "DequantizeLinear"]
        if node.op_type in RECURRENT or len(restored) < 2:
            return FLOAT_BITS, FLOAT_BITS
        return self._span(restored[1]), self._span(restored[0])

    def _span(self, name: str) -> int:
        """Return the bits that integers span: a weight by its values, activations by their type."""
        if name not in self.constants:
            return ACTIVATION_BITS
        values = array_of(self.constants[name]).astype(np.int64)
        return max(1, ceil(log2(int(values.max() - values.min()) + 1)))

    def _contracted(self, node: onnx.NodeProto) -> int:
        """Return the multiply-accumulates of an Einsum: the sizes of all its axes multiplied."""
        terms = attributes_of(node)["equation"].decode().replace(" ", "").partition("->")[0]
        sizes: dict[str | int, int] = {}
        for term, name in zip(terms.split(","), node.input, strict=True):
            shape = self.shapes[name]
            before, dots, after = term.partition("...")
            hidden = range(-(len(shape) - len(before + after)), 0) if dots else ()
            sizes |= dict(zip((*before, *hidden, *after), shape, strict=True))
        return prod(sizes.values()) * (len(node.input) - 1)


def _observed(
    model: onnx.ModelProto, example: Feeds, names: list[str]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of tensors by name, as they are when the graph runs on one batch.

    Inference knows neither ONNX Runtime's own operators nor sizes that are computed.
    """
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    graph = measured.graph
    for name in names:
        graph.node.append(helper.make_node("Shape", [name], [f"shape of {name}"]))
        shape = helper.make_tensor_value_info(f"shape of {name}", onnx.TensorProto.INT64, None)
        graph.output.append(shape)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        session_source(measured), options, providers=["CPUExecutionProvider"]
    )
    found: list[NDArray[np.int64]] = session.run(
        [f"shape of {name}" for name in names], dict(example)
    )
    return {name: tuple(shape.tolist()) for name, shape in zip(names, found, strict=True)}
