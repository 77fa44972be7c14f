"""Write the files one would ship and verify them: model.onnx to run, model.packed to send."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import nn

from compressors.base import Inputs, Task
from compressors.models.calibration import few, first_samples
from compressors.weights.encoded import CodedWeight
from search.artefact.baking import bake
from search.artefact.code_arrival import check_codes_arrive
from search.artefact.fidelity import expected_outputs, file_fidelity_db, verify_float_file
from search.artefact.onnx_form.batch_norm_folding import fold_batch_norms
from search.artefact.onnx_form.canonical import canonical
from search.artefact.onnx_form.export import Feeds, export_onnx, feeds, simplify
from search.artefact.onnx_form.quantization import integer_operators, quantise_onnx
from search.artefact.onnx_form.unit_order import order_units
from search.artefact.packed_form.packing import pack
from search.errors import ArtefactError

RUN_FORM = "model.onnx"
SHIP_FORM = "model.packed"
CALIBRATION_SAMPLES = 256


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """The two files of a model and what was found on reading them back."""

    run_path: Path
    """The ONNX file, which ONNX Runtime executes without our code."""
    ship_path: Path
    """The packed file, from which `unpack` restores the ONNX file, byte for byte."""
    run_bytes: int
    """Bytes of the ONNX file."""
    size_bytes: int
    """Bytes of the packed file."""
    fidelity_db: float
    """Signal-to-noise ratio of the reloaded file's outputs against the model in memory."""
    integer_operators: int
    """Number of layers that run in integers."""
    notes: tuple[str, ...]
    """Where the file could not follow the model."""


def write_artefact(model: nn.Module, task: Task, folder: Path) -> Artefact:
    """Write both files into `folder`, reload them and compare them with the model.

    Args:
        model: The model as the last step left it, with its masks and codes; it is not changed.
        task: Gives the example for the export and the check, and batches for calibration.
        folder: Created if it is missing; files of an earlier artefact are replaced.

    Raises:
        ArtefactError: ONNX lacks an operation of the model, the code of a weight reaches no
            initialiser, the outputs are not finite, or the file in floats reaches less than 40 dB
            against the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run_path, ship_path = folder / RUN_FORM, folder / SHIP_FORM
    expected = expected_outputs(model, (task.example, first_samples(task.example, 1)))
    graph, codes = _float_graph(model, few(task.example))
    _write(graph, run_path)
    fidelity = verify_float_file(run_path, expected)
    graph, notes = quantise_onnx(graph, codes.values(), _calibration(task))
    if integer_operators(graph):
        _write(graph, run_path)
        fidelity = file_fidelity_db(run_path, expected[:1])
    ship_path.write_bytes(pack(run_path.read_bytes(), codes.values()))
    return Artefact(
        run_path=run_path,
        ship_path=ship_path,
        run_bytes=run_path.stat().st_size,
        size_bytes=ship_path.stat().st_size,
        fidelity_db=fidelity,
        integer_operators=integer_operators(graph),
        notes=(*notes, *_notes(graph)),
    )


def _write(graph: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(canonical(graph).SerializeToString(deterministic=True))


def _float_graph(
    model: nn.Module, example: Inputs
) -> tuple[onnx.ModelProto, dict[str, CodedWeight]]:
    plain, codes = bake(model)
    try:
        graph = export_onnx(plain, example)
    except torch.onnx.OnnxExporterError as error:
        raise ArtefactError(f"the model has no ONNX form: {error}") from error
    check_codes_arrive(graph, codes, plain, example)
    codes = fold_batch_norms(graph, codes)
    graph = simplify(graph)
    return graph, order_units(graph, codes)


def _calibration(task: Task) -> Iterator[Feeds]:
    left = CALIBRATION_SAMPLES
    for inputs, _ in task.train_batches(0):
        batch = feeds(first_samples(inputs, left))
        yield batch
        left -= len(next(iter(batch.values())))
        if left <= 0:
            return


def _notes(graph: onnx.ModelProto) -> Iterator[str]:
    left = sum(node.op_type == "BatchNormalization" for node in graph.graph.node)
    if left:
        yield (
            f"{left} batch-normalisations stay, since no convolution or linear layer precedes them"
        )
