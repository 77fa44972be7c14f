"""Bring an ONNX graph into a canonical form, without anything that running it does not need."""

from collections.abc import Iterator
from itertools import count
from string import ascii_letters, digits

import onnx
from onnx import numpy_helper

from search.artefact.onnx_form.outside import is_outside

SYMBOLS = ascii_letters + digits


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that computes the same, with short names and without descriptions.

    Inputs and outputs of the graph keep their names and types. Initialisers are in the order of
    their use, with their values as raw bytes. Attributes with their default value, unused operator
    sets and unused initialisers are removed. Equal graphs give equal bytes.
    """
    lean = onnx.ModelProto()
    lean.CopyFrom(model)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        lean.ClearField(name)
    for name in ("metadata_props", "training_info"):
        lean.ClearField(name)
    _drop_unused_domains(lean)
    versions = {entry.domain: entry.version for entry in lean.opset_import}
    for graph in graphs_of(lean.graph):
        _strip(graph, versions)
    lean.graph.name = "g"
    _order_initialisers(lean.graph)
    if not any(inner.sparse_initializer for inner in graphs_of(lean.graph)):
        _rename(lean.graph)
    return lean


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and the graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else [], attribute.graphs):
                for body in inner:
                    yield from graphs_of(body)


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    used = {""} | {node.domain for graph in graphs_of(model.graph) for node in graph.node}
    used |= {node.domain for function in model.functions for node in function.node}
    used |= {function.domain for function in model.functions}
    kept = sorted((e for e in model.opset_import if e.domain in used), key=lambda e: e.domain)
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _strip(graph: onnx.GraphProto, versions: dict[str, int]) -> None:
    for name in ("doc_string", "value_info", "metadata_props", "quantization_annotation"):
        graph.ClearField(name)
    for node in graph.node:
        for name in ("name", "doc_string", "metadata_props"):
            node.ClearField(name)
        kept = [a for a in node.attribute if not _is_default(a, node, versions)]
        kept.sort(key=lambda attribute: attribute.name)
        del node.attribute[:]
        node.attribute.extend(kept)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
    tensors = [_raw(tensor) for tensor in graph.initializer]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    for value in (*graph.input, *graph.output):
        value.ClearField("doc_string")
        value.ClearField("metadata_props")


def _is_default(
    attribute: onnx.AttributeProto, node: onnx.NodeProto, versions: dict[str, int]
) -> bool:
    version = versions.get(node.domain)
    if version is None or not onnx.defs.has(node.op_type, node.domain):
        return False
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    known = schema.attributes.get(attribute.name)
    if known is None or known.default_value.type == onnx.AttributeProto.UNDEFINED:
        return False
    value, default = map(onnx.helper.get_attribute_value, (attribute, known.default_value))
    return bool(value == default)


def _raw(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """Return a tensor with only a name, a type, a shape and its values, as raw bytes or outside."""
    stays = tensor.data_type == onnx.TensorProto.STRING or is_outside(tensor)
    if tensor.HasField("raw_data") or stays:
        lean = onnx.TensorProto()
        lean.CopyFrom(tensor)
    else:
        lean = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
    for name in ("doc_string", "metadata_props"):
        lean.ClearField(name)
    if lean.data_location == onnx.TensorProto.DEFAULT:
        lean.ClearField("data_location")
    return lean


def _order_initialisers(graph: onnx.GraphProto) -> None:
    outputs = {value.name for value in graph.output}
    order: dict[str, int] = {}
    for inner in graphs_of(graph):
        for node in inner.node:
            for name in node.input:
                order.setdefault(name, len(order))
    kept = [t for t in graph.initializer if t.name in order or t.name in outputs]
    kept.sort(key=lambda tensor: order.get(tensor.name, len(order)))
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _rename(graph: onnx.GraphProto) -> None:
    """Rename every tensor inside the graph to a letter or two, in the order of use."""
    names = {"": ""}
    for inner in graphs_of(graph):
        names |= {value.name: value.name for value in (*inner.input, *inner.output)}
    kept = set(names)
    fresh = (name for name in _short_names() if name not in kept)
    for inner in graphs_of(graph):
        for node in inner.node:
            for values in (node.input, node.output):
                for place, name in enumerate(values):
                    if name not in names:
                        names[name] = next(fresh)
                    values[place] = names[name]
    for inner in graphs_of(graph):
        for tensor in inner.initializer:
            tensor.name = names.get(tensor.name, tensor.name)


def _short_names() -> Iterator[str]:
    for length in count(1):
        for number in range(len(SYMBOLS) ** length):
            name = ""
            for _ in range(length):
                number, digit = divmod(number, len(SYMBOLS))
                name = SYMBOLS[digit] + name
            yield name
