"""The choice of one trial of a study: the knee of the front, or the best trial within bounds."""

import difflib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from search.errors import SelectionError
from search.pareto.front import Objectives, cost_matrix, pareto_front
from search.pareto.selection_expression import Bound, Goal, parse
from search.trial_record import TrialRecord


def select(
    records: Sequence[TrialRecord],
    objectives: Objectives,
    expression: str,
    weights: Mapping[str, float] | None = None,
) -> TrialRecord:
    """Return the trial that an expression selects.

    `knee` selects from the front, `max|min METRIC [where ...]` from all feasible trials; ties go to
    a trial that no other dominates, then to the better one by the objectives. Metrics of the test
    set are refused, since a metric that selects the model no longer measures it.

    Args:
        records: Finished trials.
        objectives: Direction by metric.
        expression: A text of the form `GRAMMAR`.
        weights: Weights of the objectives for the knee; 1 without an entry.

    Raises:
        SelectionError: The expression is malformed, or no trial satisfies it.
    """
    if expression.strip() == "knee":
        return knee(records, objectives, weights)
    goal = parse(expression)
    candidates = [record for record in records if record.feasible]
    if not candidates:
        raise SelectionError("no trial is feasible: there is nothing to choose from")
    for metric in (goal.metric, *(bound.metric for bound in goal.bounds)):
        _check_metric(metric, candidates)
    for bound in goal.bounds:
        candidates = _bounded(candidates, bound)
    return pareto_front(_best(candidates, goal), objectives)[0]


def knee(
    records: Sequence[TrialRecord],
    objectives: Objectives,
    weights: Mapping[str, float] | None = None,
) -> TrialRecord:
    """Return the member of the front with the smallest Manhattan distance to the ideal point.

    Each objective is scaled to [0, 1] over the front. With two objectives this is the point
    farthest from the line through the extremes; unlike that line it is defined for any number of
    objectives (Chiu et al., 2016, arXiv:1705.01705). With weights w the distance is the sum over
    objectives of w times the scaled cost (compromise programming with exponent 1: Yu, 1973,
    doi:10.1287/mnsc.19.8.936). Ties go to the better one by the first objective.

    Args:
        records: Finished trials.
        objectives: Direction by metric.
        weights: Weights of the objectives; 1 without an entry.

    Raises:
        SelectionError: No trial is feasible.
    """
    front = pareto_front(records, objectives)
    if not front:
        raise SelectionError("no trial is feasible: there is no front and no knee")
    costs = cost_matrix(front, objectives)
    span = np.ptp(costs, axis=0)
    scaled = (costs - costs.min(axis=0)) / np.where(span > 0, span, 1.0)
    weighting = np.array([(weights or {}).get(name, 1.0) for name in objectives])
    distances = scaled @ (weighting / weighting.max())
    return front[int(np.argmin(distances.round(12)))]


def _check_metric(metric: str, candidates: Sequence[TrialRecord]) -> None:
    if metric.startswith("test_"):
        raise SelectionError(
            f"{metric} is measured on the test set, which must not choose the model: "
            f"select by {metric.removeprefix('test_')}"
        )
    known = sorted({name for record in candidates for name in record.metrics})
    if metric not in known:
        near = difflib.get_close_matches(metric, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise SelectionError(f"unknown metric {metric!r}; {hint}")


def _best(candidates: Sequence[TrialRecord], goal: Goal) -> list[TrialRecord]:
    """Return the trials with the best value of the goal's metric."""
    sign = -1 if goal.largest else 1
    having = [r for r in candidates if math.isfinite(r.metrics.get(goal.metric, math.nan))]
    if not having:
        raise SelectionError(f"no trial within the bounds has a finite {goal.metric}")
    best = min(sign * record.metrics[goal.metric] for record in having)
    return [record for record in having if sign * record.metrics[goal.metric] == best]


def _bounded(candidates: Sequence[TrialRecord], bound: Bound) -> list[TrialRecord]:
    """Return the trials within a bound; raise `SelectionError` with the closest if none is."""
    within = [record for record in candidates if bound.holds(record)]
    if within:
        return within
    having = [r for r in candidates if math.isfinite(r.metrics.get(bound.metric, math.nan))]
    if not having:
        raise SelectionError(f"no trial left has a finite {bound.metric}, asked for {bound}")
    closest = min(having, key=lambda r: (abs(r.metrics[bound.metric] - bound.limit), r.number))
    raise SelectionError(
        f"none of the {len(candidates)} feasible trials (within the bounds before it) has {bound}: "
        f"the closest is {closest.metrics[bound.metric]:.6g}, trial {closest.number}"
    )
