"""The part of a graph that runs on integers with fixed scales: layers, and what is between them."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx

from search.artefact.onnx_form.rewriting.graph_parts import attributes_of

ABSORBED = ("Relu", "Clip")
"""Operators that vanish where they follow a layer: rounding to their range does the same."""
SAME_SCALE = (
    *ABSORBED,
    "AveragePool",
    "DepthToSpace",
    "Flatten",
    "Gather",
    "MaxPool",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
"""Operators that move or choose among integers, so that inputs and outputs have one scale."""
OWN_SCALE = ("Add", "GlobalAveragePool", "LeakyRelu")
"""Operators with a kernel of ONNX Runtime from integers of one scale to those of another.

Concat, Sigmoid and Mul are none of them: their further roundings cost over 1 dB of fidelity.
"""
JOINING = ("Add",)
"""Operators of which every input is an activation; of others only the first."""


@dataclass(frozen=True, kw_only=True)
class IntegerRegion:
    """Nodes of a graph, in its order, that run on integers."""

    layers: Sequence[onnx.NodeProto]
    """Convolutions and matrix products."""
    followers: Sequence[onnx.NodeProto]
    """The nodes between them."""

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """All nodes."""
        return [*self.layers, *self.followers]

    @property
    def read(self) -> set[str]:
        """The activations that its nodes read."""
        return {name for node in self.nodes for name in data_inputs(node)}

    @property
    def floating_ends(self) -> list[onnx.NodeProto]:
        """The matrix products whose outputs no other node of the region reads.

        Their sums need no rounding: the kernel of a product, unlike that of a convolution, can
        return floats.
        """
        products = (node for node in self.layers if node.op_type != "Conv")
        return [node for node in products if node.output[0] not in self.read]


def integer_region(
    model: onnx.ModelProto, convolutions: Sequence[onnx.NodeProto], products: Container[str]
) -> IntegerRegion:
    """Return the region around some convolutions.

    A matrix product belongs to it where its input does: the integers and their scale are there. A
    node between layers belongs to it where ONNX Runtime has a kernel for it on integers and it
    leads on to a layer. What only nodes in floats read would gain nothing from being rounded.

    Args:
        model: The graph in floats.
        convolutions: The convolutions that run in integers.
        products: The names of matrix products that can.
    """
    starts = {node.output[0] for node in convolutions}
    integers = starts | {node.input[0] for node in convolutions}
    constants = {tensor.name for tensor in model.graph.initializer}
    layers, followers = [], []
    for node in model.graph.node:
        if node.output[0] in starts or (node.name in products and node.input[0] in integers):
            layers.append(node)
        elif _runs_on_integers(node, integers, constants):
            followers.append(node)
        else:
            continue
        integers.update(node.output)
    return IntegerRegion(layers=layers, followers=list(_leading_on(layers, followers)))


def data_inputs(node: onnx.NodeProto) -> Sequence[str]:
    """Return the names of the inputs that are activations, or constants in their place."""
    return list(node.input) if node.op_type in JOINING else [node.input[0]]


def _runs_on_integers(
    node: onnx.NodeProto, integers: Container[str], constants: Container[str]
) -> bool:
    if node.op_type not in (*SAME_SCALE, *OWN_SCALE):
        return False
    if node.op_type == "Resize" and attributes_of(node).get("mode", b"nearest") != b"nearest":
        return False
    data = data_inputs(node)
    known = all(name in integers or name in constants for name in data)
    return known and any(name in integers for name in data)


def _leading_on(
    layers: Iterable[onnx.NodeProto], followers: Sequence[onnx.NodeProto]
) -> Iterator[onnx.NodeProto]:
    """Yield in the graph's order the nodes that a layer reads from, and those that vanish."""
    needed = {node.input[0] for node in layers}
    made = {node.output[0] for node in layers}
    kept: list[onnx.NodeProto] = []
    for node in reversed(followers):
        if not needed.isdisjoint(node.output):
            needed.update(data_inputs(node))
            kept.append(node)
        elif node.op_type in ABSORBED and node.input[0] in made:
            kept.append(node)
    yield from reversed(kept)
