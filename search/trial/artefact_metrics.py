"""The metrics of one artefact by itself, baseline or trial."""

from collections.abc import Mapping

import numpy as np
from torch import nn

from compressors.base import Inputs
from search.artefact.artefact import Artefact
from search.errors import MeasurementError
from search.trial.model_counts import count_macs, count_model
from search.trial.scoring import Score


def artefact_metrics(
    model: nn.Module, example: Inputs, artefact: Artefact, score: Score
) -> dict[str, float]:
    """Return the metrics that need no comparison with another artefact.

    Args:
        model: The model that was written; its operations and parameters are counted.
        example: One batch of its inputs.
        artefact: The files that were written and reloaded.
        score: Of the reloaded artefact on validation data.

    Raises:
        MeasurementError: Torch, or the ONNX file, has no operations that are counted.
    """
    counts = count_model(model)
    return {
        **score.metrics(),
        "size_bytes": artefact.size_bytes,
        "run_bytes": artefact.run_bytes,
        "fidelity_db": artefact.fidelity_db,
        "integer_operators": artefact.integer_operators,
        "macs": count_macs(model, example),
        "bops": _some(artefact.bit_operations),
        "parameters": counts.parameters,
        "nonzeros": counts.nonzeros,
    }


def bits_per_weight(size_bytes: float, baseline_parameters: float) -> float:
    """Return `8 * size_bytes / baseline_parameters`.

    The bytes are those of the whole packed file, with biases, codebooks, scales and the graph. The
    parameters are the baseline's, not the model's own: removed channels and zeros then count as
    compression, as in a ratio of sizes, and 32 is an fp32 file without any overhead.

    Args:
        size_bytes: Bytes of the packed file.
        baseline_parameters: Number of parameters of the uncompressed model.
    """
    return 8 * size_bytes / baseline_parameters


def _some(bit_operations: float) -> float:
    """Return the bit operations of a file, of which ratios are taken, if there are any."""
    if bit_operations == 0:
        raise MeasurementError("bops is 0: no operator of the ONNX file multiplies a weight")
    return bit_operations


def check_finite(metrics: Mapping[str, float]) -> None:
    """Raise `MeasurementError`, naming them, if any metrics are not finite."""
    wrong = {name: value for name, value in metrics.items() if not np.isfinite(value)}
    if wrong:
        raise MeasurementError(f"not finite: {wrong}")
