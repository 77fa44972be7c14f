"""Take the guards against NaN out of the way of attention.

A query that may see no key has a softmax of NaN, for which torch's exporter puts zeros: two passes
over all weights of the attention, `[B, H, T, T]`. With a finite mask there is no NaN, and the zeros
are put into the result, `[B, H, T, D]`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from search.artefact.onnx_form.outside import array_of
from search.artefact.onnx_form.rewriting.canonical import graphs_of

LOWEST = np.finfo(np.float32).min
"""Stands for minus infinity: added to any score, it gives the softmax a weight of 0."""


@dataclass(frozen=True, kw_only=True)
class _Attention:
    """The nodes of one attention with a guard."""

    mask: onnx.NodeProto
    """Gives 0 for what is seen, minus infinity for the rest."""
    scores: onnx.NodeProto
    """Adds the mask."""
    weights: str
    """What the softmax gives, unguarded."""
    product: onnx.NodeProto
    """Multiplies the guarded weights with the values."""


def move_guards(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with each guard behind the product of the attention with its values.

    A guard stays where the mask is not made of zeros and minus infinities.
    """
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    graph = moved.graph
    attentions = list(_attentions(graph))
    for number, found in enumerate(attentions):
        _move(graph, found, f"attention.{number}")
    if attentions:
        _drop_unused(graph)
    return moved


def _attentions(graph: onnx.GraphProto) -> Iterator[_Attention]:
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: array_of(tensor) for tensor in graph.initializer}
    elsewhere = _used_elsewhere(graph)
    for guard in graph.node:
        weights = _guarded(guard, makers, constants)
        if weights is None:
            continue
        scores = makers[makers[weights].input[0]]
        masks = [makers[name] for name in scores.input if name in makers]
        mask = next((node for node in masks if _is_mask(node, constants)), None)
        users = [node for node in graph.node if guard.output[0] in node.input]
        alone = [node.op_type for node in users] == ["MatMul"] and guard.output[0] not in elsewhere
        if scores.op_type == "Add" and mask is not None and alone:
            yield _Attention(mask=mask, scores=scores, weights=weights, product=users[0])


def _guarded(
    node: onnx.NodeProto,
    makers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]],
) -> str | None:
    """Return the output of a softmax that a node guards against NaN; None for other nodes."""
    if node.op_type != "Where" or node.input[0] not in makers:
        return None
    test, softmax = makers[node.input[0]], makers.get(node.input[2])
    guards = test.op_type == "IsNaN" and test.input[0] == node.input[2]
    zero = not np.any(constants.get(node.input[1], 1))
    known = softmax is not None and softmax.op_type == "Softmax" and softmax.input[0] in makers
    return node.input[2] if guards and zero and known else None


def _is_mask(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> bool:
    if node.op_type != "Where":
        return False
    seen, hidden = (constants.get(name, np.ones(2)) for name in node.input[1:])
    return bool(seen.size == hidden.size == 1 and seen.item() == 0 and np.isneginf(hidden.item()))


def _move(graph: onnx.GraphProto, found: _Attention, name: str) -> None:
    mask, seen = found.mask.output[0], f"{found.mask.output[0]}.seen"
    if not any(seen in node.output for node in graph.node):
        _insert(graph, found.mask, _finite_mask(graph, found.mask))
    for place, given in enumerate(found.scores.input):
        if given == mask:
            found.scores.input[place] = f"{mask}.finite"
    [result] = found.product.output
    found.product.input[0] = found.weights
    found.product.output[0] = f"{result}.unguarded"
    guard = helper.make_node("Mul", [f"{result}.unguarded", seen], [result], name=f"{name}.guard")
    _insert(graph, found.product, [guard])


def _finite_mask(graph: onnx.GraphProto, mask: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the nodes that make the finite mask, and 1 for a query that sees a key, else 0."""
    name, seen = mask.output[0], mask.input[0]
    constants = {"lowest": np.float32(LOWEST), "last": np.array([-1]), "one": np.float32(1)}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"{name}.{part}")
        for part, value in constants.items()
    )
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Where", [seen, mask.input[1], f"{name}.lowest"], "finite", {}),
        ("Cast", [seen], "keys", {"to": TensorProto.FLOAT}),
        ("ReduceSum", [f"{name}.keys", f"{name}.last"], "count", {"keepdims": 1}),
        ("Min", [f"{name}.count", f"{name}.one"], "seen", {}),
    ]
    return [
        helper.make_node(kind, inputs, [f"{name}.{part}"], name=f"{name}.{part}", **attributes)
        for kind, inputs, part, attributes in steps
    ]


def _insert(graph: onnx.GraphProto, after: onnx.NodeProto, nodes: list[onnx.NodeProto]) -> None:
    place = next(n for n, node in enumerate(graph.node) if node.output[0] == after.output[0])
    for node in reversed(nodes):
        graph.node.insert(place + 1, node)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Delete nodes whose outputs nothing uses, in place."""
    used = _used_elsewhere(graph)
    kept = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _used_elsewhere(graph: onnx.GraphProto) -> set[str]:
    """Return the names that the graph gives as outputs or that graphs inside its nodes use."""
    names = {value.name for inner in graphs_of(graph) for value in inner.output}
    bodies = [inner for inner in graphs_of(graph) if inner is not graph]
    return names | {name for inner in bodies for node in inner.node for name in node.input}
