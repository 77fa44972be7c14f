"""Metrics of a model before it is written: its score in memory and an estimate of its size."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from compressors.base import Inputs, run
from compressors.models.calibration import device_of, to_device
from compressors.models.fingerprint import structure_digest
from compressors.outputs.structure import mapped
from compressors.weights.encoded import CodedWeight, coded_weights
from search.tasks.task import EvaluatedTask
from search.trial.model_counts import count_macs, count_model, used_weights
from search.trial.scoring import evaluate
from search.trial_record import ModelEstimate

FLOAT_BITS = 26.8
"""Bits of a trained 32-bit weight after entropy coding; its mantissa hardly compresses."""


def estimate_in_memory(model: nn.Module, task: EvaluatedTask, *, share: float) -> ModelEstimate:
    """Estimate a model without writing it: score, size and operations.

    Args:
        model: Any, maybe with masks and codes on its weights.
        task: Gives the validation data and the score.
        share: The share of its training that the model has had, in [0, 1].
    """
    device = device_of(model)

    def predict(inputs: Inputs) -> Any:
        return mapped(run(model, to_device(inputs, device)), lambda tensor: tensor.cpu())

    with cached():
        score = evaluate(predict, task.validation, task)
    return replace(
        estimate_structure(model, task, share=share),
        score=score.value,
        score_standard_error=score.standard_error,
        nll=score.nll,
    )


def estimate_structure(model: nn.Module, task: EvaluatedTask, *, share: float) -> ModelEstimate:
    """Estimate a model without running it on data: size and operations.

    Args:
        model: Any, maybe with masks and codes on its weights.
        task: Gives the example whose operations are counted.
        share: The share of its training that the model has had, in [0, 1].
    """
    counts = count_model(model)
    return ModelEstimate(
        share=share,
        model=structure_digest(model)[:16],
        estimated_bytes=weight_bytes(model),
        macs=count_macs(model, task.example),
        parameters=counts.parameters,
        nonzeros=counts.nonzeros,
        integers=any(c.activations is not None for c in coded_weights(model).values()),
    )


def weight_bytes(model: nn.Module) -> float:
    """Return the estimated bytes of the weights in a packed file, from their entropy."""
    codes = coded_weights(model)
    with torch.no_grad():
        bits = sum(
            _coded_bits(codes[name]) if name in codes else _float_bits(weight)
            for name, weight in used_weights(model)
        )
    return bits / 8


def _coded_bits(code: CodedWeight) -> float:
    """Return the bits of a code: the positions of the commonest value, the others, the levels.

    Values other than the commonest are often concentrated in some rows or columns, of which the
    packed file makes use.
    """
    counts = np.bincount(code.indices.ravel())
    others = code.indices != counts.argmax()
    lines = [_entropies(others.ravel()[None]), _entropies(others), _entropies(others.T)]
    scales = code.factor.size if (code.factor != 1).any() else 0
    levels = int((counts > 0).sum()) if code.bits is None else 0
    rest = _entropy(np.delete(counts, counts.argmax()))
    return min(lines) + rest + FLOAT_BITS * (levels + scales)


def _entropies(lines: NDArray[np.bool_]) -> float:
    """Return the bits of flags `[L, N]` with a separate density for each line."""
    count = lines.shape[1]
    share = lines.sum(axis=1) / count
    inner = share[(share > 0) & (share < 1)]
    bits = -(inner * np.log2(inner) + (1 - inner) * np.log2(1 - inner)).sum() * count
    return float(bits + 0.5 * len(lines) * np.log2(count + 1))


def _float_bits(weight: Tensor) -> float:
    zeros = weight.numel() - int(weight.count_nonzero())
    kept = weight.numel() - zeros
    return FLOAT_BITS * kept + _entropy(np.array([zeros, kept]))


def _entropy(counts: NDArray[np.int64]) -> float:
    """Return the bits that symbols with these counts `[K]` take together."""
    seen = counts[counts > 0]
    return float((seen * np.log2(seen.sum() / seen)).sum()) if len(seen) else 0.0
