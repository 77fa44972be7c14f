"""Export with torch.export and onnxscript: it takes more models and is the slow one."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

import onnx
import torch
from torch import nn
from torch.export import Dim

from search.artefact.onnx_form.export import simplify
from search.artefact.onnx_form.exporting.call import Call
from search.artefact.onnx_form.outside import fresh, load_graph

OPSET = 18
"""The least that this exporter writes."""


def export_torch(model: nn.Module, call: Call) -> onnx.ModelProto:
    """Return the ONNX graph of a model in eval mode, its weights under their own names.

    The exporter's own optimisations are off, since they compute with weights. Biases that it makes
    and weights that it transposes are computed by `simplify`.

    Args:
        model: A model with plain weights, in eval mode.
        call: How it is called, and the names and free axes of inputs and outputs.
    """
    axes = [dict.fromkeys(call.free_axes[name], Dim.DYNAMIC) for name in call.names]
    named = dict(zip(call.names, axes, strict=True))
    with _quiet():
        program = torch.onnx.export(
            model,
            call.arguments,
            kwargs=call.keywords or None,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(call.axes_by_internal_name),
            output_names=call.internal_outputs,
            dynamic_shapes=named if call.keywords else tuple(axes),
            optimize=False,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise AssertionError("torch.onnx.export returns a program where it writes no file")
    if call.outside is None:
        proto: onnx.ModelProto = program.model_proto
        return simplify(proto)
    path = fresh(call.outside, ".onnx")
    program.save(path, external_data=True)
    return simplify(load_graph(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's talk about itself; the written file is verified in any case."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
