"""Operators of ONNX Runtime's own that compute with packed weights, put into a graph."""

from collections.abc import Collection, Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from search.artefact.onnx_form.rewriting.graph_parts import keep_initialisers

DOMAIN = "com.microsoft"


def add_constants(graph: onnx.GraphProto, constants: Mapping[str, NDArray[Any]]) -> None:
    """Add initialisers of any shape by their names; those of a known name are left as they are."""
    known = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(
        numpy_helper.from_array(values, name)
        for name, values in constants.items()
        if name not in known
    )


def finish(model: onnx.ModelProto, replaced: Collection[str]) -> None:
    """Drop replaced weights that no node uses any more, and declare the operators, in place.

    Args:
        model: The graph with packed operators.
        replaced: Names of the initialisers that packed constants stand for.
    """
    # A graph inside a node may use any other constant.
    used = {name for node in model.graph.node for name in node.input}
    unused = set(replaced) - used
    keep_initialisers(model.graph, lambda name: name not in unused)
    if all(opset.domain != DOMAIN for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
