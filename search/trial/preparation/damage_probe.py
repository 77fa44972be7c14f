"""The damage that a step does, before any recovery, by its strength."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import calibration_batches, device_of
from compressors.outputs.divergence import divergence
from search.proposal.strength.damage import DamageCurve
from search.recipe.recipe import Recipe
from search.trial.compress import compress
from search.trial.preparation.brief_task import BriefTask

SAMPLES = 64
"""Calibration samples on which outputs are compared."""


def damage_curve(probes: Sequence[tuple[float, Recipe]], brief: BriefTask) -> DamageCurve:
    """Return the divergence of the outputs from the baseline's at each strength of a step.

    Batch-norm statistics are measured anew before, without which no model that lost structure can
    be compared. Strengths at which the step finds nothing to do, or the outputs are not finite,
    are left out.

    Args:
        probes: Ascending shares of the step's range, each with the recipe of the step alone.
        brief: The task with few data.

    Raises:
        InfeasibleError: The step finds nothing to do at any strength.
    """
    inputs = list(calibration_batches(brief.task, device_of(brief.baseline), SAMPLES))
    before = _outputs(brief.baseline, inputs, brief)
    found = []
    reason = InfeasibleError("its outputs are not finite at any strength")
    for share, recipe in probes:
        try:
            model, _ = compress(recipe, brief)
        except InfeasibleError as error:
            reason = error
            continue
        if recipe.steps[0].compressor().kind is not CompressorKind.REMOVES_STRUCTURE:
            renew_batch_norm(model, brief, brief.baseline)  # what removes structure does so itself
        value = _mean_divergence(_outputs(model, inputs, brief), before, brief)
        if value < float("inf"):
            found.append((share, value))
    if not found:
        raise reason
    shares, divergences = zip(*found, strict=True)
    return DamageCurve(shares=shares, divergences=divergences)


def _outputs(model: nn.Module, inputs: Sequence[Inputs], brief: BriefTask) -> list[Tensor]:
    with torch.no_grad():
        return [brief.outputs.select(run(model, batch)).float() for batch in inputs]


def _mean_divergence(
    outputs: Sequence[Tensor], before: Sequence[Tensor], brief: BriefTask
) -> float:
    """Return the mean divergence over batches of outputs of any shape; nan as infinite."""
    pairs = zip(outputs, before, strict=True)
    value = torch.stack([divergence(brief.outputs, *pair) for pair in pairs]).mean()
    return float(value.nan_to_num(nan=float("inf")))
