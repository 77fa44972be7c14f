"""Which trials no other trial beats, and how much they gain over the baseline together."""

import math
from collections.abc import Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from search.trial_record import TrialRecord

Objectives = Mapping[str, str]
"""Metric name -> `maximize` or `minimize`, the most important first."""

SCORE_TOLERANCE = 0.10
"""The loss of score, as a share of the baseline's, at which a model is worth nothing."""


def pareto_front(records: Sequence[TrialRecord], objectives: Objectives) -> list[TrialRecord]:
    """Return the feasible trials that no other feasible trial dominates.

    Of trials with equal values the one with the lowest number stays. The best by the first
    objective comes first, whatever the order of the records.

    Raises: ValueError if a measured trial lacks an objective or has it NaN or infinite.
    """
    feasible = _feasible(records, objectives)
    if not feasible:
        return []
    costs = cost_matrix(feasible, objectives)
    kept = np.flatnonzero(moocore.is_nondominated(costs))
    order = sorted(kept, key=lambda row: (tuple(costs[row]), feasible[row].number))
    return [feasible[row] for row in order]


def cost_matrix(records: Sequence[TrialRecord], objectives: Objectives) -> NDArray[np.float64]:
    """Return the objectives as `[records, objectives]`, negated where more is better.

    Raises: ValueError if a record lacks an objective or has it NaN or infinite.
    """
    signs = [direction_sign(name, way) for name, way in objectives.items()]
    values = [[objective_value(record, name) for name in objectives] for record in records]
    return np.array(values, dtype=np.float64).reshape(len(records), len(objectives)) * signs


def direction_sign(name: str, way: str) -> int:
    """Return 1 for `minimize` and -1 for `maximize`; raise `ValueError` for anything else."""
    if way not in ("minimize", "maximize"):
        raise ValueError(f"objective {name} must be 'maximize' or 'minimize', got {way!r}")
    return 1 if way == "minimize" else -1


def objective_value(record: TrialRecord, name: str) -> float:
    """Return one metric of a record; raise `ValueError` if it is missing, NaN or infinite."""
    value = record.metrics.get(name)
    if value is None or not math.isfinite(value):
        problem = "has no" if value is None else f"has a non-finite ({value})"
        raise ValueError(f"trial {record.number} {problem} objective {name}: it cannot be ranked")
    return value


def hypervolume(
    records: Sequence[TrialRecord],
    objectives: Objectives,
    baseline_metrics: Mapping[str, float],
    reference: Mapping[str, float] | None = None,
) -> float:
    """Return the volume that the feasible trials dominate, in units of the baseline.

    A model with the baseline's score at zero cost is worth 1. For `score`, `score_drop` and
    `relative_drop` the reference lies 10 % of |baseline score| below the baseline, for any other
    metric it is the baseline's own value, unless `reference` names another for an objective; a
    trial that is not better than the reference in every objective adds nothing (Zitzler and
    Thiele, 1999, doi:10.1109/4235.797969; computed by moocore).

    Raises: ValueError if an objective cannot be normalised, or a measured trial lacks it.
    """
    feasible = _feasible(records, objectives)
    return _volume(_gains(feasible, objectives, baseline_metrics, reference or {}))


def hypervolume_history(
    records: Sequence[TrialRecord],
    objectives: Objectives,
    baseline_metrics: Mapping[str, float],
    reference: Mapping[str, float] | None = None,
) -> dict[int, float]:
    """Return the hypervolume after each trial, by trial number in ascending order.

    Trials that failed or break a constraint leave it as it was. Raises as `hypervolume` does.
    """
    feasible = _feasible(records, objectives)
    gains = _gains(feasible, objectives, baseline_metrics, reference or {})
    gain_of = {record.number: gain for record, gain in zip(feasible, gains, strict=True)}
    front = np.empty((0, len(objectives)))
    history: dict[int, float] = {}
    volume = 0.0
    for number in sorted(record.number for record in records):
        gain = gain_of.get(number)
        if gain is not None and (gain > 0).all() and not (front >= gain).all(axis=1).any():
            beaten = (front <= gain).all(axis=1)
            front = np.vstack([front[~beaten], gain])
            volume = _volume(front)
        history[number] = volume
    return history


def reference_and_unit(
    name: str,
    way: str,
    baseline_metrics: Mapping[str, float],
    reference: Mapping[str, float] | None = None,
) -> tuple[float, float]:
    """Return the value of an objective that is worth nothing, and the gain that is worth 1.

    The unit is the way from the reference to the baseline's score, or to 0 for any other metric;
    where that is no way at all, it is 1.

    Raises: ValueError if the baseline's value is missing or not finite.
    """
    drops = name in ("score_drop", "relative_drop")
    source = "score" if drops else name
    value = baseline_metrics.get(source)
    if value is None or not math.isfinite(value):
        raise ValueError(
            f"objective {name} cannot be compared with the baseline, whose {source} is {value}: "
            "choose another objective"
        )
    tolerance = SCORE_TOLERANCE * (1.0 if name == "relative_drop" else abs(value))
    ideal = value if name == "score" else 0.0
    default = ideal + direction_sign(name, way) * tolerance if drops or name == "score" else value
    worthless = (reference or {}).get(name, default)
    return worthless, abs(ideal - worthless) or 1.0


def _feasible(records: Sequence[TrialRecord], objectives: Objectives) -> list[TrialRecord]:
    if not objectives:
        raise ValueError("at least one objective is needed")
    measured = [record for record in records if record.status == "ok"]
    cost_matrix(measured, objectives)
    return sorted((r for r in measured if r.feasible), key=lambda record: record.number)


def _gains(
    feasible: Sequence[TrialRecord],
    objectives: Objectives,
    baseline_metrics: Mapping[str, float],
    reference: Mapping[str, float],
) -> NDArray[np.float64]:
    """Return `[trials, objectives]`: 0 at the reference, 1 one unit better."""
    signs = np.array([direction_sign(name, way) for name, way in objectives.items()])
    scales = [reference_and_unit(*item, baseline_metrics, reference) for item in objectives.items()]
    references, units = np.array(scales, dtype=np.float64).T
    gains: NDArray[np.float64] = (signs * references - cost_matrix(feasible, objectives)) / units
    return gains


def _volume(gains: NDArray[np.float64]) -> float:
    better = gains[(gains > 0).all(axis=1)]
    if not len(better):
        return 0.0
    return float(moocore.hypervolume(better, ref=0.0, maximise=True))
