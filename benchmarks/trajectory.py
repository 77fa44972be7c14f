"""The models that a search has found at each moment, and their hypervolume against time.

There are two planes, both with the error (1 - score) on validation data: one with the logarithm of
the packed bytes, one with the latency ratio. Both axes of a plane run from 0, no gain, to 1.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import moocore
import numpy as np
from numpy.typing import NDArray

ERROR_MARGIN = 0.1
"""Distance above the baseline's error at which the gain is 0; it is 1 without an error."""
BEST_SIZE_RATIO = 1000.0
"""Packed bytes of the baseline over those of a model whose gain is 1."""
PLANES = ("bytes", "latency")
CLOCKS = ("seconds", "cpu_seconds")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measured trial."""

    seconds: float
    """Seconds from the launch of the search's process to the end of the trial."""
    cpu_seconds: float
    """CPU seconds of the search's processes until then."""
    score: float
    size_bytes: float
    latency_ratio: float


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """All trials that one search measured within its time."""

    score: float
    """Score of the baseline."""
    size_bytes: float
    """Packed bytes of the baseline."""
    seconds: float
    """Time of the search in seconds."""
    points: tuple[Point, ...]
    """In the order in which the trials ended."""


Steps = Sequence[tuple[float, float]]
"""Moments at which a hypervolume grew, and its values from then on."""


def as_accuracy(score: float, baseline: float, *, maximize: bool) -> float:
    """Return a score as a share of 1, of which the planes take the error.

    An accuracy stays as it is. A perplexity that is a tenth above the baseline's loses about 0.1:
    it becomes 1 less the logarithm of its ratio to the baseline's, which thus has no error.

    Args:
        score: Of a model.
        baseline: Score of the baseline.
        maximize: Whether a higher score is better.
    """
    return score if maximize else 1 - math.log(score / baseline)


def gains(trajectory: Trajectory, plane: str) -> NDArray[np.float64]:
    """Return the points on one plane, `[points, 2]`, both axes in [0, 1] and better when higher."""
    reference = 1 - trajectory.score + ERROR_MARGIN
    scores = np.array([point.score for point in trajectory.points])
    accuracy = (reference - (1 - scores)) / reference
    if plane == "bytes":
        sizes = np.array([point.size_bytes for point in trajectory.points])
        other = np.log(trajectory.size_bytes / sizes) / math.log(BEST_SIZE_RATIO)
    else:
        other = 1 - np.array([point.latency_ratio for point in trajectory.points])
    return np.clip(np.column_stack([accuracy, other]), 0, 1)


def growth(trajectory: Trajectory, plane: str, clock: str = "seconds") -> Steps:
    """Return the moments at which the hypervolume of a plane grew, and its values from then on.

    It starts at 0 (Zitzler and Thiele, 1999, doi:10.1109/4235.797969; computed by moocore).
    """
    steps: list[tuple[float, float]] = []
    front = np.empty((0, 2))
    for point, gain in zip(trajectory.points, gains(trajectory, plane), strict=True):
        if (gain > 0).all() and not (front >= gain).all(axis=1).any():
            front = np.vstack([front[~(front <= gain).all(axis=1)], gain])
            volume = float(moocore.hypervolume(front, ref=0.0, maximise=True))
            steps.append((getattr(point, clock), volume))
    return steps


def value_at(steps: Steps, moment: float) -> float:
    """Return the hypervolume at a moment."""
    return next((volume for time, volume in reversed(steps) if time <= moment), 0.0)


def final_volume(trajectory: Trajectory, plane: str) -> float:
    """Return the hypervolume at the end of a search."""
    return value_at(growth(trajectory, plane), math.inf)


def time_to(steps: Steps, target: float) -> float:
    """Return the first moment at which the hypervolume was at least the target, or infinity."""
    reached = (time for time, volume in steps if volume >= target - 1e-12)
    return next(reached, math.inf) if target > 0 else 0.0


def write_trajectory(trajectory: Trajectory, path: Path) -> None:
    """Write a trajectory as JSON; the file appears when it is complete."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(trajectory)) + "\n")
    part.replace(path)


def read_trajectory(path: Path) -> Trajectory:
    """Read a trajectory that `write_trajectory` wrote."""
    kept: Mapping[str, float | list[dict[str, float]]] = json.loads(path.read_text())
    points = tuple(Point(**point) for point in kept["points"])
    return Trajectory(**{**kept, "points": points})
