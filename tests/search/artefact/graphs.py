"""Graphs of whole models, as the first exporter writes them."""

from search.artefact.onnx_form.exporting.call import Call
from search.artefact.onnx_form.exporting.exporters import export_onnx
from search.artefact.onnx_form.exporting.torchscript_exporter import export_torchscript
from search.tasks.free_axes import batch_axes


def exported(model, example):
    """Return the ONNX graph of a plain model, exported on a batch of inputs."""
    call = Call.of(model, example, batch_axes(example), ["output"])
    return export_onnx(model, call, {}, export_torchscript).graph
