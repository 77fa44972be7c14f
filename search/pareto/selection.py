"""The choice of one trial of a study: by its number, the knee, or the best within bounds."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from search.errors import SelectionError
from search.pareto.bounds import Bound
from search.pareto.front import Objectives, cost_matrix, pareto_front
from search.pareto.selection_expression import Choice, parse
from search.trial_record import TrialRecord

WORDS = ("knee", "smallest", "fastest", "best")
"""The words that stand for a trial, in the order in which they are shown."""


def select(
    records: Sequence[TrialRecord],
    objectives: Objectives,
    expression: str | int,
    weights: Mapping[str, float] | None = None,
) -> TrialRecord:
    """Return the trial that an expression selects.

    A number selects any measured trial. Every other expression selects among the compressed
    trials that are feasible and lie within its bounds, never the uncompressed baseline:
    `smallest` by `size_bytes`, `fastest` by `latency_ratio`, `best` by the score, `max METRIC` and
    `min METRIC` by any metric, and `knee` by all objectives. Ties go to a trial that no other
    dominates, then to the better one by the objectives. Metrics of the test set are refused, since
    a metric that selects the model no longer measures it.

    Args:
        records: Finished trials.
        objectives: Direction by metric.
        expression: A text of the form `GRAMMAR`, or a number.
        weights: Weights of the objectives for the knee; 1 without an entry. Those in the
            expression replace them.

    Raises:
        SelectionError: The expression is malformed, or no trial satisfies it.
    """
    choice = parse(str(expression))
    if choice.number is not None:
        return _numbered(records, choice.number)
    candidates = [record for record in records if record.feasible]
    if not any(not _uncompressed(record) for record in candidates):
        raise SelectionError(
            "no trial is feasible but the uncompressed baseline; a number selects any trial"
            if candidates
            else "no trial is feasible: there is nothing to choose from"
        )
    goal = _goal(choice, objectives)
    for metric in ([goal[0]] if goal else []) + [bound.metric for bound in choice.bounds]:
        _check_metric(metric, candidates)
    for bound in choice.bounds:
        candidates = _bounded(candidates, bound)
    if goal is None:
        return _knee(candidates, objectives, {**(weights or {}), **choice.weights})
    return pareto_front(_best(candidates, *goal), objectives)[0]


def knee(
    records: Sequence[TrialRecord],
    objectives: Objectives,
    weights: Mapping[str, float] | None = None,
) -> TrialRecord:
    """Return the compressed member of the front with the least Manhattan distance to the ideal.

    Each objective is scaled to [0, 1] over these members. With two objectives this is the point
    farthest from the line through the extremes; unlike that line it is defined for any number of
    objectives (Chiu et al., 2016, arXiv:1705.01705). With weights w the distance is the sum over
    objectives of w times the scaled cost (compromise programming with exponent 1: Yu, 1973,
    doi:10.1287/mnsc.19.8.936). Ties go to the better one by the first objective.

    Args:
        records: Finished trials.
        objectives: Direction by metric.
        weights: Weights of the objectives; 1 without an entry.

    Raises:
        SelectionError: No compressed trial is feasible, or the baseline dominates all of them.
    """
    return select(records, objectives, "knee", weights)


def roles(
    records: Sequence[TrialRecord],
    objectives: Objectives,
    weights: Mapping[str, float] | None = None,
) -> dict[int, list[str]]:
    """Return by a trial's number which of `WORDS` select it; empty where none selects any."""
    found: dict[int, list[str]] = {}
    for word in WORDS:
        try:
            number = select(records, objectives, word, weights).number
        except SelectionError:
            continue
        found.setdefault(number, []).append(word)
    return found


def _numbered(records: Sequence[TrialRecord], number: int) -> TrialRecord:
    """Return a measured trial by its number."""
    record = next((record for record in records if record.number == number), None)
    if record is None:
        numbers = [record.number for record in records]
        there = f"from {min(numbers)} to {max(numbers)}" if numbers else "none"
        raise SelectionError(f"there is no finished trial {number}; there are: {there}")
    if record.status != "ok":
        raise SelectionError(
            f"trial {number} measured no model, its status is '{record.status}'; select one with "
            "status 'ok'"
        )
    return record


def _goal(choice: Choice, objectives: Objectives) -> tuple[str, bool] | None:
    """Return the metric that an expression goes by and whether more is better; None for a knee.

    The best score is the one that lost least, if the objectives do not say which way is better.
    """
    if choice.word == "knee":
        unknown = [name for name in choice.weights if name not in objectives]
        if unknown:
            raise SelectionError(
                f"{unknown[0]} is no objective of this study; weigh one of {', '.join(objectives)}"
            )
        return None
    if choice.word == "best":
        name = "score" if "score" in objectives else "score_drop"
        return name, objectives.get(name) == "maximize"
    if choice.metric:
        return choice.metric, choice.word == "max"
    return {"smallest": "size_bytes", "fastest": "latency_ratio"}[choice.word], False


def _knee(
    candidates: Sequence[TrialRecord], objectives: Objectives, weights: Mapping[str, float]
) -> TrialRecord:
    front = [r for r in pareto_front(candidates, objectives) if not _uncompressed(r)]
    if not front:
        raise SelectionError(
            "no compressed trial is on the front, the baseline is better than all in every "
            "objective: there is no knee"
        )
    costs = cost_matrix(front, objectives)
    span = np.ptp(costs, axis=0)
    scaled = (costs - costs.min(axis=0)) / np.where(span > 0, span, 1.0)
    weighting = np.array([weights.get(name, 1.0) for name in objectives])
    distances = scaled @ (weighting / weighting.max())
    return front[int(np.argmin(distances.round(12)))]


def _uncompressed(record: TrialRecord) -> bool:
    return record.origin == "baseline"


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


def _best(candidates: Sequence[TrialRecord], metric: str, largest: bool) -> list[TrialRecord]:
    """Return the compressed trials with the best value of a metric."""
    sign = -1 if largest else 1
    having = _having(candidates, metric)
    if not having:
        raise SelectionError(f"no trial within the bounds has a finite {metric}")
    best = min(sign * record.metrics[metric] for record in having)
    return [record for record in having if sign * record.metrics[metric] == best]


def _having(candidates: Iterable[TrialRecord], metric: str) -> list[TrialRecord]:
    """Return the compressed trials that have a finite value of a metric."""
    return [
        record
        for record in candidates
        if not _uncompressed(record) and math.isfinite(record.metrics.get(metric, math.nan))
    ]


def _bounded(candidates: Sequence[TrialRecord], bound: Bound) -> list[TrialRecord]:
    """Return the trials within a bound; raise `SelectionError` with the closest if none is."""
    within = [record for record in candidates if bound.holds(record.metrics)]
    if any(not _uncompressed(record) for record in within):
        return within
    having = _having(candidates, bound.metric)
    if not having:
        raise SelectionError(f"no trial left has a finite {bound.metric}, asked for {bound}")
    closest = min(having, key=lambda r: (abs(r.metrics[bound.metric] - bound.limit), r.number))
    count = sum(not _uncompressed(record) for record in candidates)
    raise SelectionError(
        f"none of the {count} feasible trials (within the bounds before it) has {bound}: "
        f"the closest is {closest.metrics[bound.metric]:.6g}, trial {closest.number}"
    )
