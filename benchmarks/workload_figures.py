"""The figures of one workload: from a study's records and its rivals' rows to the JSON entry."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.timed_arms import Rows
from benchmarks.trajectory import PLANES, Point, Trajectory, as_accuracy, final_volume
from search.trial_record import TrialRecord

KEYS = {"bytes": "hypervolume", "latency": "hypervolume_latency"}
"""Key of the JSON entry by plane."""
Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much score may be lost. A point is a hundredth of accuracy, or a per cent of perplexity.

    All of them refer to the baseline.
    """

    relative_drop: float
    """Share of the validation score: the experiment's own bound, beyond which nothing counts."""
    fastest: float = 1.0
    """Points of test score that the fastest model may lose."""
    smallest: float = 1.5
    """Points of test score that the smallest model may lose."""
    maximize: bool = True
    """Whether a higher score is better."""

    def hold(self, score: float, baseline: float) -> bool:
        """Return whether a validation score is within the experiment's bound."""
        drop = baseline - score if self.maximize else score - baseline
        return drop <= self.relative_drop * abs(baseline) + 1e-9

    def points_lost(self, score: float, baseline: float) -> float:
        """Return the points that a score is worse than the baseline's."""
        return 100 * (baseline - score if self.maximize else score / baseline - 1)


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that was measured on one workload with one seed."""

    records: Sequence[TrialRecord]
    """The study's, the baseline's first."""
    launched: float
    """Unix time at which the study's process was launched."""
    limit: float
    """Seconds after which nothing that was found counts in a hypervolume."""
    seconds: float
    """From the study's launch to its end."""
    loops: Mapping[str, tuple[float, Rows]]
    """By a loop's name, when its clock started, and its rows with the baseline's first."""
    quantiser: Rows = ()
    """Those of ONNX Runtime's quantiser."""
    control: Row | None = None


def entry(found: Found, bounds: Bounds) -> dict[str, Any]:
    """Return the JSON entry of one seed."""
    baseline = found.records[0].metrics
    measured = [record for record in found.records[1:] if record.status == "ok"]
    return {
        "baseline": {"test": round(baseline["test_score"], 4)},
        "control": found.control and {"test": round(found.control["test_score"], 4)},
        "fastest": fastest(found.records, bounds),
        "smallest": smallest(found.records, bounds),
        **{KEYS[plane]: volumes(found, bounds, plane) for plane in PLANES},
        "trials": len(found.records) - 1,
        "trials_in_bound": sum(
            bounds.hold(record.metrics["score"], baseline["score"]) for record in measured
        ),
        "seconds": round(found.seconds, 1),
    }


def fastest(records: Sequence[TrialRecord], bounds: Bounds) -> dict[str, float]:
    """Return the fastest tested model within the points of test score; at worst the baseline."""
    best = min(_tested(records, bounds, bounds.fastest), key=lambda m: m["latency_ratio"])
    return {"test": round(best["test_score"], 4), "speedup": round(1 / best["latency_ratio"], 3)}


def smallest(records: Sequence[TrialRecord], bounds: Bounds) -> dict[str, float]:
    """Return the smallest tested model within the points of test score; at worst the baseline.

    Its ratio is that of the baseline's file in floats to the packed file.
    """
    best = min(_tested(records, bounds, bounds.smallest), key=lambda m: m["size_bytes"])
    return {"test": round(best["test_score"], 4), "ratio": round(1 / best["size_ratio"], 2)}


def _tested(records: Sequence[TrialRecord], bounds: Bounds, points: float) -> list[Row]:
    """Return the metrics of the tested models, those of the front, that lost so few points."""
    reference = records[0].metrics["test_score"]
    return [
        record.metrics
        for record in records
        if "test_score" in record.metrics
        and bounds.points_lost(record.metrics["test_score"], reference) <= points + 1e-9
    ]


def untrained(record: TrialRecord) -> bool:
    """Return whether no step of a recipe trains."""
    return not any(step.get("epochs", 0) > 0 for step in record.recipe["steps"].values())


def volumes(found: Found, bounds: Bounds, plane: str) -> dict[str, float | None]:
    """Return the final hypervolumes on one plane; that of the loop is that of the best one."""
    ours = [
        {**record.metrics, "finished": record.finished}
        for record in found.records
        if record.status == "ok"
    ]
    posts = [{**r.metrics} for r in found.records[1:] if r.status == "ok" and untrained(r)]
    baseline = ours[0]
    in_time = _in_time(ours[1:], found.launched, found.limit)
    loops = [
        volume(rows[0], _in_time(rows[1:], began, found.limit), bounds, plane)
        for began, rows in found.loops.values()
    ]
    return {
        "paredown": volume(baseline, in_time, bounds, plane),
        "loop": max(loops, default=None),
        "post_training": volume(baseline, [*posts, *found.quantiser], bounds, plane),
    }


def _in_time(rows: Rows, began: float, limit: float) -> Rows:
    return [row for row in rows if row["finished"] - began <= limit]


def volume(baseline: Row, rows: Rows, bounds: Bounds, plane: str) -> float:
    """Return the hypervolume of the models within the experiment's bound.

    Args:
        baseline: Metrics of the baseline.
        rows: Metrics of the models.
        bounds: Those of the workload.
        plane: `bytes` or `latency`.
    """
    points = tuple(
        Point(
            seconds=0.0,
            cpu_seconds=0.0,
            score=_accuracy(row["score"], baseline["score"], bounds),
            size_bytes=row["size_bytes"],
            latency_ratio=row["latency_ratio"],
        )
        for row in rows
        if bounds.hold(row["score"], baseline["score"])
    )
    whole = Trajectory(
        score=_accuracy(baseline["score"], baseline["score"], bounds),
        size_bytes=baseline["size_bytes"],
        seconds=0.0,
        points=points,
    )
    return round(final_volume(whole, plane), 4) if points else 0.0


def _accuracy(score: float, baseline: float, bounds: Bounds) -> float:
    return as_accuracy(score, baseline, maximize=bounds.maximize)


def median_entry(entries: Iterable[Any]) -> Any:
    """Return the medians over seeds of entries of the same form; null where a seed has null."""
    known = list(entries)
    if any(value is None for value in known):
        return None
    if isinstance(known[0], Mapping):
        return {key: median_entry(value[key] for value in known) for key in known[0]}
    return statistics.median(known)
