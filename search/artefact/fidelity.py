"""How near the outputs of a file are to those of the model in memory."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.copying import copy_model
from compressors.outputs.structure import floating_tensors, named_tensors
from search.artefact.onnx_form.runtime import predictor
from search.errors import ArtefactError

Expected = tuple[Inputs, Any]
"""A batch of inputs and the outputs of the model in memory, of any structure."""

MIN_FIDELITY_DB = 40.0
"""Least signal-to-noise ratio of a file in floats; a file below it does not hold the model."""
MAX_FIDELITY_DB = 200.0
"""Ratio reported for outputs that are equal to the bit; float32 rounding gives 120 to 150."""


def expected_outputs(model: nn.Module, batches: Iterable[Inputs]) -> list[Expected]:
    """Return each batch of inputs `[B, ...]` with the outputs of the model on the CPU."""
    copy = copy_model(model).cpu()
    with torch.no_grad():
        return [(inputs, run(copy, inputs)) for inputs in batches]


def file_fidelity_db(path: Path, expected: Iterable[Expected]) -> float:
    """Return the fidelity of an ONNX file, reloaded: the least over batches and output tensors.

    Args:
        path: The ONNX file.
        expected: Batches of inputs and outputs `[B, ...]`, as `expected_outputs` returns them.

    Raises:
        ArtefactError: The shapes of the outputs differ, or a value is not finite.
    """
    expected = list(expected)
    predict = predictor(path, like=expected[0][1])
    return min(
        fidelity_db(_array(tensor), _array(actual[name]))
        for inputs, outputs in expected
        for actual in [named_tensors(predict(inputs))]
        for name, tensor in floating_tensors(outputs).items()
    )


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
