"""Write the files one would ship and verify them: model.onnx to run, model.packed to send."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
from torch import nn

from compressors.base import Task
from compressors.models.calibration import few, first_samples
from search.artefact.checked_batches import checked_batches
from search.artefact.fidelity import expected_outputs, file_fidelity_db, scaled_fidelity_db
from search.artefact.float_form import FloatForm, reasons, write_float_form
from search.artefact.model_files import RUN_FORM, SHIP_FORM, run_bytes
from search.artefact.onnx_form.bit_operations import bit_operations
from search.artefact.onnx_form.export import Feeds, feeds
from search.artefact.onnx_form.float_fallback import quantise_faithfully
from search.artefact.onnx_form.outside import weights_folder
from search.artefact.onnx_form.quantization import integer_operators
from search.artefact.onnx_form.storing import write_graph
from search.artefact.packed_form.packing import pack_file
from search.tasks.free_axes import FreeAxes, batch_axes
from search.utils.heap import return_free_memory

CALIBRATION_SAMPLES = 256


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """The two files of a model and what was found on reading them back."""

    run_path: Path
    """The ONNX file, which ONNX Runtime executes without our code. The weights of a large model are
    in a data file beside it."""
    ship_path: Path
    """The packed file, from which `unpack` restores what is in `run_bytes`, byte for byte."""
    run_bytes: int
    """Bytes of the ONNX file, with its data file."""
    size_bytes: int
    """Bytes of the packed file."""
    fidelity_db: float
    """Signal-to-noise ratio of the reloaded file's outputs against the model in memory."""
    integer_operators: int
    """Number of layers that run in integers."""
    bit_operations: float
    """Of one example, see `bit_operations`."""
    notes: tuple[str, ...]
    """Where the file could not follow the model."""


def write_artefact(
    model: nn.Module, task: Task, folder: Path, free_axes: FreeAxes | None = None
) -> Artefact:
    """Write both files into `folder`, reload them and compare them with the model.

    Args:
        model: The model as the last step left it, with its masks and codes; it is not changed.
        task: Gives the example for the export and the check, and batches for calibration.
        folder: Created if it is missing; files of an earlier artefact are replaced.
        free_axes: The axes of the inputs that stay free in the files; None for the first ones.

    Raises:
        ArtefactError: The outputs are not finite, or no exporter gives a file in floats that
            reaches 40 dB against the model at all sizes of the free axes that are tried.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run_path, ship_path = folder / RUN_FORM, folder / SHIP_FORM
    free_axes = free_axes or batch_axes(task.example)
    expected = expected_outputs(model, checked_batches(task, free_axes))
    compared = [expected[0], *expected[2:]]

    def measure(graph: onnx.ModelProto) -> float:
        write_graph(graph, run_path)
        return file_fidelity_db(run_path, compared, scaled_fidelity_db)

    with weights_folder(model, folder) as outside:
        floats = write_float_form(model, run_path, expected, free_axes, outside=outside)
        codes = list(floats.codes.values())
        form = quantise_faithfully(floats.graph, codes, _Calibration(task), measure)
        operations = bit_operations(form.graph, feeds(few(task.example)))
    return_free_memory()
    pack_file(run_path, ship_path, codes)
    return Artefact(
        run_path=run_path,
        ship_path=ship_path,
        run_bytes=run_bytes(run_path),
        size_bytes=ship_path.stat().st_size,
        fidelity_db=floats.fidelity_db if form.fidelity_db is None else form.fidelity_db,
        integer_operators=integer_operators(form.graph),
        bit_operations=operations,
        notes=(*form.notes, *_notes(form.graph), *_export_notes(floats)),
    )


@dataclass(frozen=True)
class _Calibration:
    """The first training samples as feeds `[B, ...]`, read when they are first needed."""

    task: Task

    def __iter__(self) -> Iterator[Feeds]:
        return iter(self._read)

    @cached_property
    def _read(self) -> list[Feeds]:
        found: list[Feeds] = []
        left = CALIBRATION_SAMPLES
        for inputs, _ in self.task.train_batches(0):
            found.append(feeds(first_samples(inputs, left)))
            left -= len(next(iter(found[-1].values())))
            if left <= 0:
                break
        return found


def _notes(graph: onnx.ModelProto) -> Iterator[str]:
    left = sum(node.op_type == "BatchNormalization" for node in graph.graph.node)
    if left:
        yield (
            f"{left} batch-normalisations stay, since no convolution or linear layer precedes them"
        )


def _export_notes(floats: FloatForm) -> Iterator[str]:
    if floats.refusals:
        yield f"exported with {floats.exporter}, since {reasons(floats.refusals)}"
