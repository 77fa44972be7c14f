"""Give the inputs and outputs of an exported graph their public names."""

from collections.abc import Mapping

import onnx

from search.artefact.onnx_form.exporting.call import Call
from search.artefact.onnx_form.rewriting.canonical import graphs_of

OWN = ":own"
"""Ends the new name of a tensor that had the name of an input or output."""


def name_inputs_and_outputs(graph: onnx.GraphProto, call: Call) -> dict[str, str]:
    """Rename in place; return the new names of tensors whose names inputs and outputs take.

    An input that the model does not use, and that the exporter left out, is put in again, so that
    the file takes all inputs of the model.
    """
    _restore_inputs(graph, call)
    public = call.public_names
    wanted = set(public.values())
    own = {name: f"{name}{OWN}" for name in wanted}
    names = {**own, **public}
    present = {tensor.name for tensor in graph.initializer}
    for inner in graphs_of(graph):
        _rename(inner, names)
    return {old: new for old, new in own.items() if old in present}


def _restore_inputs(graph: onnx.GraphProto, call: Call) -> None:
    known = {value.name: value for value in graph.input}
    tensors = dict(zip(call.names, call.keywords.values() or call.arguments, strict=True))
    ordered = []
    for internal, free in call.axes_by_internal_name.items():
        tensor = tensors[call.public_names[internal]]
        shape = [free.get(axis, size) for axis, size in enumerate(tensor.shape)]
        kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.numpy().dtype)
        fresh = onnx.helper.make_tensor_value_info(internal, kind, shape)
        ordered.append(known.get(internal, fresh))
        if internal in known:
            known[internal].type.tensor_type.shape.CopyFrom(fresh.type.tensor_type.shape)
    kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in ordered]
    del graph.input[:]
    graph.input.extend(kept)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                values[place] = names.get(name, name)
    for item in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        item.name = names.get(item.name, item.name)
