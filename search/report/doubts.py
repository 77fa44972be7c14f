"""What makes the figures of a study mean less than they seem to, in one line each."""

import math

from search.config.study_config import StudyConfig
from search.pareto.front import direction_sign
from search.pareto.hypervolume import SCORE_TOLERANCE, reference_and_unit
from search.recipe.step_values import recovers
from search.report.formatting import format_metric
from search.report.result import StudyResult, baseline_of
from search.report.step_effects import steps_of
from search.trial_record import TrialRecord

STANDARD_ERRORS = 2.0
"""Standard errors of the difference by which a trial must be better than the baseline."""


def doubts(config: StudyConfig, result: StudyResult) -> list[str]:
    """Return a line for an untrained baseline, and one for a hypervolume of 0; often none."""
    baseline = baseline_of(result.records)
    if baseline is None:
        return []
    return [*_untrained(config, result, baseline), *_no_volume(config, result, baseline)]


def _untrained(config: StudyConfig, result: StudyResult, baseline: TrialRecord) -> list[str]:
    """Say that a recovery trained the baseline further, if a trial with one is a tenth better."""
    recoveries = {name for name in config.space.steps if recovers(config.space, name)}
    trained = [
        record
        for record in result.records
        if record.feasible and record is not baseline and steps_of(record) & recoveries
    ]
    known = [record for record in trained if "relative_drop" in record.metrics]
    best = min(known, key=lambda record: record.metrics["relative_drop"], default=None)
    if best is None or best.metrics["relative_drop"] > -SCORE_TOLERANCE:
        return []
    errors = [r.metrics.get("score_standard_error", 0.0) for r in (best, baseline)]
    gained = abs(best.metrics["score"] - baseline.metrics["score"])
    if gained <= STANDARD_ERRORS * math.hypot(*errors):
        return []
    return [
        f"trial {best.number} scores {format_metric('score', best.metrics['score'])}, the baseline "
        f"{format_metric('score', baseline.metrics['score'])}: its recovery trains a model that "
        "was not trained to the end; train the baseline further, then losses of score mean what "
        "compression costs"
    ]


def _no_volume(config: StudyConfig, result: StudyResult, baseline: TrialRecord) -> list[str]:
    """Say why no trial counts, if none does: an objective in which none gains, or all at once."""
    feasible = [r for r in result.records if r.feasible and r is not baseline]
    if not result.history or any(result.history.values()) or not feasible:
        return []
    for name, way in config.objectives.items():
        sign = direction_sign(name, way)
        limit, _ = reference_and_unit(name, way, baseline.metrics, config.preferences.reference)
        best = min(feasible, key=lambda record: sign * record.metrics[name])
        if sign * best.metrics[name] >= sign * limit:
            return [
                f"the hypervolume is 0: no feasible trial has {name} "
                f"{'below' if sign > 0 else 'above'} {format_metric(name, limit)}, from where a "
                f"gain counts; the best, trial {best.number}, has "
                f"{format_metric(name, best.metrics[name])}; drop that objective, or set "
                f"preferences.reference.{name}"
            ]
    return [
        "the hypervolume is 0: in each objective some trial gains, but none in all at once; drop "
        "an objective, or set preferences.reference"
    ]
