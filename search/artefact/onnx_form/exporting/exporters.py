"""Export a model by one of torch's exporters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx
from torch import nn

from compressors.models.fused_attention import plain_attention
from compressors.weights.encoded import CodedWeight
from search.artefact.onnx_form.exporting.call import Call
from search.artefact.onnx_form.exporting.graph_names import name_inputs_and_outputs
from search.artefact.onnx_form.exporting.named_outputs import flat_outputs
from search.artefact.onnx_form.exporting.refusals import reason
from search.artefact.onnx_form.exporting.torch_exporter import export_torch
from search.artefact.onnx_form.exporting.torchscript_exporter import export_torchscript
from search.errors import ArtefactError

Exporter = Callable[[nn.Module, Call], onnx.ModelProto]

EXPORTERS: Mapping[str, Exporter] = {
    "the TorchScript exporter": export_torchscript,
    "torch.export": export_torch,
}
"""Torch's exporters in the order in which they are tried. The five networks that the tests use take
0.01 to 0.2 s with the first and 1.2 to 4 s with the second, which takes more models."""
EXPORTER_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""What exporters raise on a model that runs in torch; `OnnxExporterError` is a RuntimeError."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model's graph and the codes of its encoded weights."""

    graph: onnx.ModelProto
    codes: Mapping[str, CodedWeight]
    """By the name of the initialiser, where the exporter has kept the weight as it is."""


def export_onnx(
    model: nn.Module, call: Call, codes: Mapping[str, CodedWeight], exporter: Exporter
) -> Exported:
    """Return the ONNX graph of a model in eval mode, its weights under their own names.

    The free axes of the call are free in the graph. A weight whose name is that of an input or
    output gets another name.

    Args:
        model: A model with plain weights, in eval mode, on the CPU.
        call: How it is called.
        codes: The codes of its encoded weights.
        exporter: One of `EXPORTERS`.

    Raises:
        ArtefactError: The exporter fails.
    """
    try:
        with plain_attention(), flat_outputs(model):
            graph = exporter(model, call)
    except EXPORTER_ERRORS as error:
        raise ArtefactError(reason(error)) from error
    renamed = name_inputs_and_outputs(graph.graph, call)
    named = {renamed.get(name, name): code for name, code in codes.items()}
    return Exported(graph=graph, codes=named)
