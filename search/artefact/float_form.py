"""The run form in floats, by the first exporter whose file computes what the model does."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

from compressors.models.calibration import first_samples
from compressors.outputs.structure import named_tensors
from compressors.weights.encoded import CodedWeight
from search.artefact.baking import bake
from search.artefact.code_arrival import check_codes_arrive
from search.artefact.fidelity import Expected, repeats, verify_float_file
from search.artefact.onnx_form.export import simplify
from search.artefact.onnx_form.exporting.call import Call
from search.artefact.onnx_form.exporting.constructs import fixed_lines, packs_sequences
from search.artefact.onnx_form.exporting.exporters import EXPORTERS, Exporter, export_onnx
from search.artefact.onnx_form.exporting.named_outputs import output_name
from search.artefact.onnx_form.exporting.output_shapes import declare_output
from search.artefact.onnx_form.rewriting.attention_guards import move_guards
from search.artefact.onnx_form.rewriting.batch_norm_folding import fold_batch_norms
from search.artefact.onnx_form.rewriting.unit_order import order_units
from search.artefact.onnx_form.runtime import RUN_ERRORS, failed_part
from search.artefact.onnx_form.storing import write_graph
from search.errors import ArtefactError
from search.tasks.free_axes import FreeAxes, sizes_of


@dataclass(frozen=True, kw_only=True)
class FloatForm:
    """A verified graph in floats."""

    graph: onnx.ModelProto
    codes: Mapping[str, CodedWeight]
    """The codes of its encoded weights, folded and ordered as the graph is."""
    fidelity_db: float
    """Least signal-to-noise ratio of the file's outputs against the model in memory."""
    exporter: str
    """Name of the exporter that wrote the graph."""
    refusals: Mapping[str, str]
    """By exporter tried before, why its file is not taken."""


def write_float_form(
    model: nn.Module,
    path: Path,
    expected: Sequence[Expected],
    free_axes: FreeAxes,
    *,
    outside: Path | None = None,
) -> FloatForm:
    """Export a model, compare the file with it, and keep the first right one of all exporters.

    Args:
        model: The model, with its masks and codes; it is not changed.
        path: Where the file is written.
        expected: Batches of inputs and the model's outputs, `[B, ...]`, that differ in the sizes
            of all free axes; the first is the example of the export.
        free_axes: The free axes of the inputs.
        outside: The folder for the weights of a large model, to which its graph refers.

    Raises:
        ArtefactError: The model's outputs differ from call to call, or no exporter gives a
            file that computes what the model does.
    """
    plain, codes = bake(model)
    if not repeats(plain, expected[-1][0]):
        raise ArtefactError(
            "the model's outputs differ from call to call: it draws random numbers in eval mode, "
            "as F.dropout does without training=self.training"
        )
    outputs = [output_name(name) for name in named_tensors(expected[0][1])]
    call = Call.of(plain, expected[0][0], free_axes, outputs, outside=outside)
    refusals: dict[str, str] = {}
    for name, exporter in EXPORTERS.items():
        try:
            graph, ordered = _graph(plain, call, codes, exporter)
            _declare_outputs(graph, expected, free_axes)
            write_graph(graph, path)
            fidelity = verify_float_file(path, expected)
        except RUN_ERRORS as error:
            refusals[name] = f"ONNX Runtime does not take its graph: {failed_part(error)}"
        except ArtefactError as refusal:
            refusals[name] = str(refusal)
        else:
            return FloatForm(
                graph=graph,
                codes=ordered,
                fidelity_db=fidelity,
                exporter=name,
                refusals=refusals,
            )
    raise ArtefactError(_explanation(plain, call, refusals))


def _graph(
    model: nn.Module, call: Call, codes: Mapping[str, CodedWeight], exporter: Exporter
) -> tuple[onnx.ModelProto, dict[str, CodedWeight]]:
    exported = export_onnx(model, call, codes, exporter)
    if codes:  # before batch-norms are folded into the weights, but with constants computed
        alone = simplify(deepcopy(exported.graph))
        check_codes_arrive(alone, codes, model, first_samples(call.example, 2))
    folded = fold_batch_norms(exported.graph, exported.codes)
    graph = move_guards(simplify(exported.graph))
    return graph, order_units(graph, folded)


def _declare_outputs(
    graph: onnx.ModelProto, expected: Sequence[Expected], free_axes: FreeAxes
) -> None:
    shapes = [[t.shape for t in named_tensors(outputs).values()] for _, outputs in expected]
    sizes = [sizes_of(inputs, free_axes) for inputs, _ in expected]
    for value, seen in zip(graph.graph.output, zip(*shapes, strict=True), strict=True):
        declare_output(value, list(zip(sizes, seen, strict=True)))


def _explanation(model: nn.Module, call: Call, refusals: Mapping[str, str]) -> str:
    """Return in one sentence why a model cannot be written, as near to its code as is known."""
    layer = packs_sequences(model, call)
    if layer is not None:
        return (
            f"the model has no ONNX form: {layer} runs on a packed sequence "
            "(pack_padded_sequence); call it on the padded batch and mask its outputs"
        )
    lines = fixed_lines(model, call)
    if lines:
        return (
            f"the model has no ONNX form: {', '.join(lines)} depends on the values or the size of "
            "the batch and is fixed to those of the example; does the model branch on its inputs "
            "or their batch size? Use torch.where for a branch, a fixed number of steps for a "
            "loop, and x.shape[0] for len(x)"
        )
    return f"the model has no ONNX form; {reasons(refusals)}"


def reasons(refusals: Mapping[str, str]) -> str:
    """Return in one line what each exporter, or all of them, gave as the reason."""
    if len(refusals) > 1 and len(set(refusals.values())) == 1:
        return next(iter(refusals.values()))
    return "; ".join(f"{name}: {refusal}" for name, refusal in refusals.items())
