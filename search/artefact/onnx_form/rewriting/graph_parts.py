"""Small questions to an ONNX graph that several passes ask."""

from collections.abc import Callable
from typing import Any

import onnx
from onnx import helper


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node that are set, by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def has_unit_factors(node: onnx.NodeProto) -> bool:
    """Return whether a Gemm adds its product and its bias without factors."""
    attributes = attributes_of(node)
    return bool(attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0)


def keep_initialisers(graph: onnx.GraphProto, wanted: Callable[[str], bool]) -> None:
    """Delete the initialisers whose names are not wanted, in place; the order stays."""
    kept = [tensor for tensor in graph.initializer if wanted(tensor.name)]
    del graph.initializer[:]
    graph.initializer.extend(kept)
