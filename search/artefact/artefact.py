"""Write the files one would ship and verify them: model.onnx to run, model.packed to send."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.parametrize import remove_parametrizations

from compressors.base import Inputs, Task, run
from compressors.models.calibration import first_samples
from compressors.models.copying import copy_model
from compressors.weights.encoded import CodedWeight, coded_weights
from search.artefact.onnx_form.batch_norm_folding import fold_batch_norms
from search.artefact.onnx_form.canonical import canonical
from search.artefact.onnx_form.export import export_onnx, feeds, simplify
from search.artefact.onnx_form.quantization import integer_operators, quantise_onnx
from search.artefact.onnx_form.runtime import predictor as predictor
from search.artefact.onnx_form.unit_order import order_units
from search.artefact.packed_form.packing import pack
from search.errors import ArtefactError

Expected = tuple[Inputs, NDArray[np.float64]]
"""A batch of inputs and the outputs of the model in memory."""

RUN_FORM = "model.onnx"
SHIP_FORM = "model.packed"
CALIBRATION_SAMPLES = 256
MIN_FIDELITY_DB = 40.0
"""The least signal-to-noise ratio of a file in floats: what exporting alone may cost."""
MAX_FIDELITY_DB = 200.0
"""Reported where the outputs are equal to the bit; float32 rounding gives 120 to 150."""


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """The two files of a model and what was found on reading them back."""

    run_path: Path
    """The ONNX file, which ONNX Runtime executes without our code."""
    ship_path: Path
    """The packed file, from which `unpack` gives the ONNX file back, byte for byte."""
    run_bytes: int
    size_bytes: int
    """Bytes of the packed file."""
    fidelity_db: float
    """Signal-to-noise ratio of the reloaded file's outputs against the model in memory."""
    integer_operators: int
    """Layers that run in integers."""
    notes: tuple[str, ...]
    """Where the file could not follow the model."""


def write_artefact(model: nn.Module, task: Task, folder: Path) -> Artefact:
    """Write both files into `folder`, reload them and compare them with the model.

    Arguments:
        model: the model as the last step left it, with its masks and codes; it is not changed.
        task: gives the example for the export and the check, and batches for calibration.
        folder: made if it is not there; files of an earlier artefact are replaced.

    Raises:
        ArtefactError: ONNX lacks an operation of the model, the outputs are not finite, or the
            file in floats differs from the model by more than 40 dB allow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run_path, ship_path = folder / RUN_FORM, folder / SHIP_FORM
    expected = _outputs(model, (task.example, first_samples(task.example, 1)))
    graph, codes = _float_graph(model, task.example)
    _write(graph, run_path)
    fidelity = _verify(run_path, expected)
    graph, notes = quantise_onnx(graph, codes.values(), _calibration(task))
    if integer_operators(graph):
        _write(graph, run_path)
        fidelity = _fidelity(run_path, expected[:1])
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


def bake(model: nn.Module) -> tuple[nn.Module, dict[str, CodedWeight]]:
    """Return a copy on the CPU with plain weights, and the codes of those that are encoded.

    An encoded weight has exactly the value that its code decodes to. Zeros are positive zeros.
    """
    plain = copy_model(model).cpu()
    codes = coded_weights(plain)
    with torch.no_grad():
        for path, module in plain.named_modules():
            for name in list(getattr(module, "parametrizations", {})):
                remove_parametrizations(module, name)
                full = f"{path}.{name}".lstrip(".")
                weight = getattr(module, name)
                exact = torch.from_numpy(codes[full].decode()) if full in codes else weight + 0.0
                weight.copy_(exact)
    return plain, codes


def _float_graph(
    model: nn.Module, example: Inputs
) -> tuple[onnx.ModelProto, dict[str, CodedWeight]]:
    plain, codes = bake(model)
    try:
        graph = export_onnx(plain, example)
    except torch.onnx.OnnxExporterError as error:
        raise ArtefactError(f"the model has no ONNX form: {error}") from error
    codes = fold_batch_norms(graph, codes)
    graph = simplify(graph)
    return graph, order_units(graph, codes)


def _outputs(model: nn.Module, batches: Iterable[Inputs]) -> list[Expected]:
    copy = copy_model(model).cpu()
    with torch.no_grad():
        return [(inputs, run(copy, inputs).cpu().double().numpy()) for inputs in batches]


def _verify(path: Path, expected: Iterable[Expected]) -> float:
    """Return the fidelity of a file in floats, whose least is checked."""
    fidelity = _fidelity(path, expected)
    if fidelity < MIN_FIDELITY_DB:
        raise ArtefactError(
            f"the ONNX file reaches {fidelity:.1f} dB against the model, less than "
            f"{MIN_FIDELITY_DB:g} dB; does the model branch on its inputs or their batch size?"
        )
    return fidelity


def _fidelity(path: Path, expected: Iterable[Expected]) -> float:
    """Return the fidelity of a file, reloaded: the least over some batches."""
    predict = predictor(path)
    return min(
        fidelity_db(outputs, predict(inputs).double().numpy()) for inputs, outputs in expected
    )


def fidelity_db(signal: NDArray[np.float64], approximation: NDArray[np.float64]) -> float:
    """Return the signal-to-noise ratio in decibels, at most 200 in either direction.

    Raises:
        ArtefactError: the shapes differ, or a value is not finite.
    """
    if signal.shape != approximation.shape:
        raise ArtefactError(f"the file gives {approximation.shape}, the model {signal.shape}")
    if not (np.isfinite(signal).all() and np.isfinite(approximation).all()):
        raise ArtefactError("the outputs of the model or of its ONNX file are not finite")
    power, noise = float(np.square(signal).sum()), float(np.square(signal - approximation).sum())
    tiny = np.finfo(np.float64).tiny
    ratio = 10 * (np.log10(power + tiny) - np.log10(noise + tiny))
    return float(np.clip(ratio, -MAX_FIDELITY_DB, MAX_FIDELITY_DB))


def _calibration(task: Task) -> Iterator[Mapping[str, NDArray[np.generic]]]:
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
        yield f"{left} batch-normalisations stay, since no convolution or linear layer is before"
