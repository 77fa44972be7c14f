"""How near the outputs of a file are to those of the model in memory."""

from collections.abc import Callable, Iterable, Iterator
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

Array = NDArray[np.float64]
Ratio = Callable[[Array, Array], float]
"""From a model's output `[B, ...]` and a file's to decibels."""
Expected = tuple[Inputs, Any]
"""A batch of inputs and the outputs of the model in memory, of any structure."""

MIN_FIDELITY_DB = 40.0
"""Least signal-to-noise ratio of a file in floats; a file below it does not hold the model."""
MAX_FIDELITY_DB = 200.0
"""Ratio reported for outputs that are equal to the bit; float32 rounding gives 120 to 150."""
OTHER_SCALE = 10.0
"""Ratio of the scales of two channels from which on they are judged apart."""
LEAST_SCALE = 1e-6
"""Scale of a channel, as a share of the largest, below which it holds rounding of floats alone."""
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


def file_fidelity_db(path: Path, expected: Iterable[Expected], ratio: Ratio) -> float:
    """Return the fidelity of an ONNX file, reloaded: the least over batches and output tensors.

    Args:
        path: The ONNX file.
        expected: Batches of inputs and outputs `[B, ...]`, as `expected_outputs` returns them.
        ratio: How an output is compared.

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
                ratios.append(ratio(_array(tensor), _array(actual[name])))
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
    fidelity = file_fidelity_db(path, expected, fidelity_db)
    if fidelity < MIN_FIDELITY_DB:
        raise ArtefactError(
            f"the ONNX file reaches {fidelity:.1f} dB against the model, less than "
            f"{MIN_FIDELITY_DB:g} dB; does the model branch on its inputs or their batch size?"
        )
    return fidelity


def fidelity_db(signal: Array, approximation: Array) -> float:
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


def scaled_fidelity_db(signal: Array, approximation: Array) -> float:
    """Return the least ratio over channels of like scale of two arrays `[B, ...]`, in decibels.

    Boxes in pixels may share a tensor with scores below 1, whose noise vanishes in the ratio of the
    whole. So the slices along axis 1, and those along the last axis, are sorted by their root mean
    square in the signal, parted where one has `OTHER_SCALE` times that of the one before, and
    compared part by part; slices below `LEAST_SCALE` have no part. Where no slice has another scale
    it is the ratio of the whole.

    Raises:
        ArtefactError: The shapes differ, or a value is not finite.
    """
    ratios = [fidelity_db(signal, approximation)]
    for axis in {1, signal.ndim - 1} if signal.ndim > 1 and signal.size else ():
        for part in _of_one_scale(signal, axis):
            ratios.append(fidelity_db(signal.take(part, axis), approximation.take(part, axis)))
    return min(ratios)


def _of_one_scale(signal: Array, axis: int) -> Iterator[NDArray[np.intp]]:
    """Yield the places of the slices of each scale; none if all have one."""
    others = tuple(place for place in range(signal.ndim) if place != axis)
    scale = np.sqrt(np.square(signal).mean(others))
    order = np.argsort(scale)
    order = order[scale[order] > LEAST_SCALE * scale.max(initial=0)]
    gaps = np.flatnonzero(scale[order[1:]] >= OTHER_SCALE * scale[order[:-1]])
    yield from np.split(order, gaps + 1) if len(gaps) else []


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.cpu().double().numpy()
    return array
