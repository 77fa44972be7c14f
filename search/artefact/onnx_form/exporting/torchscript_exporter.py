"""Export with the TorchScript exporter: it traces the model once and is the fast one."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from search.artefact.onnx_form.export import OPSET
from search.artefact.onnx_form.exporting.call import INTERNAL, Call
from search.artefact.onnx_form.exporting.named_outputs import replaced_forward
from search.artefact.onnx_form.outside import keep_outside


def export_torchscript(model: nn.Module, call: Call) -> onnx.ModelProto:
    """Return the ONNX graph of a model in eval mode, its weights under their own names.

    Branches of the model on its data are fixed to those that the example takes.

    Args:
        model: A model with plain weights, in eval mode.
        call: How it is called, and the names and free axes of inputs and outputs.
    """
    axes = call.axes_by_internal_name
    with _quiet(), _by_position(model, call), TemporaryDirectory() as folder:
        path = Path(folder) / "exported.onnx"
        torch.onnx.export(
            model,
            tuple(call.keywords.values()) or call.arguments,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(axes),
            output_names=call.internal_outputs,
            dynamic_axes={name: dict(free) for name, free in axes.items()},
            training=torch.onnx.TrainingMode.PRESERVE,
            export_params=call.outside is None,
            do_constant_folding=call.outside is None,
        )
        proto = onnx.load(path)
    if call.outside is not None:
        _add_weights(proto.graph, model, call.outside)
    _drop_aliases(proto.graph)
    _count_axes_from_the_first(proto.graph)
    return proto


def _add_weights(graph: onnx.GraphProto, model: nn.Module, folder: Path) -> None:
    """Make initialisers of the inputs that stand for weights, their values in a file."""
    tensors = model.state_dict()
    names = [value.name for value in graph.input if not value.name.endswith(INTERNAL)]
    weights = {name: tensors[name].numpy() for name in names}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(keep_outside(weights, folder))


@contextmanager
def _by_position(model: nn.Module, call: Call) -> Iterator[None]:
    """Make a model take its named inputs by position, inside the block.

    The exporter would make inputs of the graph of the default values of its other parameters.
    """
    if not call.keywords:
        yield
        return
    forward = model.forward

    def positional(*inputs: Tensor) -> Any:
        return forward(**dict(zip(call.names, inputs, strict=True)))

    with replaced_forward(model, positional):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about itself; the written file is verified in any case."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=TracerWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.onnx")
        for message in (
            "The feature will be removed",
            "You are using the legacy TorchScript-based ONNX export",
        ):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        for message in (
            "Constant folding - Only steps=1 can be constant folded",
            "It is recommended that constant folding be turned off",
            "Exporting a model to ONNX with a batch_size other than 1",
            "Exporting aten::index operator of advanced indexing",
        ):
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def _drop_aliases(graph: onnx.GraphProto) -> None:
    """Connect consumers with an initialiser where the exporter puts an `Identity` between them."""
    constants = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = source.get(name, name)
        alias = node.op_type == "Identity" and node.input[0] in constants
        if alias and node.output[0] not in outputs:
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _count_axes_from_the_first(graph: onnx.GraphProto) -> None:
    """Write no axis of a transposition as a negative number, as the exporter does for `movedim`."""
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Transpose" and attribute.name == "perm":
                rank = len(attribute.ints)
                attribute.ints[:] = [axis % rank for axis in attribute.ints]
