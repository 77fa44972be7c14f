"""How near the outputs of a file are to those of the model in memory."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.copying import readable_copy
from compressors.outputs.structure import floating_tensors, named_tensors
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.runtime import RUN_ERRORS, failed_part, predictor
from search.errors import ArtefactError

Expected = tuple[Inputs, Any]
"""A batch of inputs and the outputs of the model in memory, of any structure."""

MIN_FIDELITY_DB = 40.0
"""Least signal-to-noise ratio of a file in floats; a file below it does not hold the model."""
MAX_FIDELITY_DB = 200.0
"""Ratio reported for outputs that are equal to the bit; float32 rounding gives 120 to 150."""
MIN_REPEATED_DB = 100.0
"""Least ratio of two calls of one model; they differ by less than the rounding of float32."""


def expected_outputs(model: nn.Module, batches: Iterable[Inputs]) -> list[Expected]:
    """Return each batch of inputs `[B, ...]` with the outputs of the model on the CPU.

    Raises:
        ArtefactError: The outputs are not finite.
    """
    copy = readable_copy(model)
    with torch.no_grad():
        expected = [(inputs, run(copy, inputs)) for inputs in batches]
    tensors = [t for _, outputs in expected for t in floating_tensors(outputs).values()]
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise ArtefactError("the outputs of the model are not finite")
    return expected


def repeats(model: nn.Module, inputs: Inputs) -> bool:
    """Return whether a model on the CPU gives equal outputs `[B, ...]` when it is called twice."""
    with torch.no_grad():
        first, second = (floating_tensors(run(model, inputs)) for _ in range(2))
    return all(
        fidelity_db(_array(tensor), _array(second[name])) >= MIN_REPEATED_DB
        for name, tensor in first.items()
    )


def file_fidelity_db(path: Path, expected: Iterable[Expected]) -> float:
    """Return the fidelity of an ONNX file, reloaded: the least over batches and output tensors.

    Args:
        path: The ONNX file.
        expected: Batches of inputs and outputs `[B, ...]`, as `expected_outputs` returns them.

    Raises:
        ArtefactError: The file does not run on a batch, the shapes of the outputs differ, or a
            value is not finite.
    """
    expected = list(expected)
    ratios, inputs = [], expected[0][0]
    try:
        predict = predictor(path, like=expected[0][1])
        for inputs, outputs in expected:
            actual = named_tensors(predict(inputs))
            for name, tensor in floating_tensors(outputs).items():
                ratios.append(fidelity_db(_array(tensor), _array(actual[name])))
    except RUN_ERRORS as error:
        sizes = {name: list(array.shape) for name, array in feeds(inputs).items()}
        raise ArtefactError(
            f"the file does not run on inputs of {sizes}: {failed_part(error)}"
        ) from error
    return min(ratios)


def verify_float_file(path: Path, expected: Iterable[Expected]) -> float:
    """Return the fidelity of an ONNX file whose operators all compute in floats.

    Args:
        path: The ONNX file.
        expected: Batches of inputs and outputs `[B, ...]`, as `expected_outputs` returns them.

    Raises:
        ArtefactError: The fidelity is below `MIN_FIDELITY_DB`, or cannot be computed.
    """
    fidelity = file_fidelity_db(path, expected)
    if fidelity < MIN_FIDELITY_DB:
        raise ArtefactError(
            f"the ONNX file reaches {fidelity:.1f} dB against the model, less than "
            f"{MIN_FIDELITY_DB:g} dB; does the model branch on its inputs or their batch size?"
        )
    return fidelity


def fidelity_db(signal: NDArray[np.float64], approximation: NDArray[np.float64]) -> float:
    """Return the signal-to-noise ratio of two arrays `[B, ...]` in decibels, within [-200, 200].

    Raises:
        ArtefactError: The shapes differ, or a value is not finite.
    """
    if signal.shape != approximation.shape:
        raise ArtefactError(f"the file gives {approximation.shape}, the model {signal.shape}")
    if not (np.isfinite(signal).all() and np.isfinite(approximation).all()):
        raise ArtefactError("the outputs of the model or of its ONNX file are not finite")
    power, noise = float(np.square(signal).sum()), float(np.square(signal - approximation).sum())
    tiny = np.finfo(np.float64).tiny
    ratio = 10 * (np.log10(power + tiny) - np.log10(noise + tiny))
    return float(np.clip(ratio, -MAX_FIDELITY_DB, MAX_FIDELITY_DB))


def _array(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.cpu().double().numpy()
    return array
