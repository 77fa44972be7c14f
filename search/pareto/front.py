"""The front: the feasible trials that no other feasible trial dominates."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search.trial_record import TrialRecord

Objectives = Mapping[str, str]
"""Direction by metric, `maximize` or `minimize`, the most important metric first."""


@dataclass(kw_only=True)
class Front:
    """Feasible trials of which none dominates another, kept up to date trial by trial.

    Of trials with equal costs the one with the lowest number stays.

    Raises:
        ValueError: There is no objective, or a direction is unknown.
    """

    objectives: Objectives
    _members: list[TrialRecord] = field(default_factory=list)
    _costs: NDArray[np.float64] = field(init=False)
    """`[members, objectives]`, lower is better."""
    _numbers: NDArray[np.int64] = field(init=False)
    """`[members]`."""

    def __post_init__(self) -> None:
        """Check the objectives."""
        if not self.objectives:
            raise ValueError("at least one objective is needed")
        self._costs = cost_matrix([], self.objectives)
        self._numbers = np.array([], dtype=np.int64)

    def add(self, record: TrialRecord) -> list[TrialRecord]:
        """Add a finished trial; return those, maybe itself, that are not on the front any more.

        A trial that is added again, with further metrics, replaces itself.

        Raises:
            ValueError: The trial was measured, and an objective is missing, NaN or infinite.
        """
        if record.status != "ok":
            return [record]
        costs = cost_matrix([record], self.objectives)[0]
        if not record.feasible:
            return [record]
        self._drop(self._numbers == record.number)
        no_worse = (self._costs <= costs).all(axis=1)
        no_better = (self._costs >= costs).all(axis=1)
        if (no_worse & (~no_better | (self._numbers < record.number))).any():
            return [record]
        dominated = self._drop(no_better)
        self._members.append(record)
        self._costs = np.vstack([self._costs, costs])
        self._numbers = np.append(self._numbers, record.number)
        return dominated

    @property
    def costs(self) -> NDArray[np.float64]:
        """Costs `[members, objectives]` of the members in no special order, lower is better."""
        return self._costs

    def ordered(self) -> list[TrialRecord]:
        """Return the members, the best by the first objective first."""
        first_key_last = [self._numbers, *self._costs.T[::-1]]
        return [self._members[row] for row in np.lexsort(first_key_last)]

    def _drop(self, rows: NDArray[np.bool_]) -> list[TrialRecord]:
        """Remove the members that `rows` `[members]` marks; return them."""
        dropped = [self._members[row] for row in np.flatnonzero(rows)]
        if dropped:
            self._members = [self._members[row] for row in np.flatnonzero(~rows)]
            self._costs, self._numbers = self._costs[~rows], self._numbers[~rows]
        return dropped


def pareto_front(records: Sequence[TrialRecord], objectives: Objectives) -> list[TrialRecord]:
    """Return the front of a batch of trials, the best by the first objective first.

    The order of the records does not matter.

    Raises:
        ValueError: There is no objective, a direction is unknown, or a measured trial has an
            objective missing, NaN or infinite.
    """
    front = Front(objectives=objectives)
    for record in records:
        front.add(record)
    return front.ordered()


def cost_matrix(records: Sequence[TrialRecord], objectives: Objectives) -> NDArray[np.float64]:
    """Return the objectives as costs `[records, objectives]`, negated where more is better.

    Raises:
        ValueError: A direction is unknown, or an objective is missing, NaN or infinite.
    """
    signs = [direction_sign(name, way) for name, way in objectives.items()]
    values = [[objective_value(record, name) for name in objectives] for record in records]
    return np.array(values, dtype=np.float64).reshape(len(records), len(objectives)) * signs


def direction_sign(name: str, way: str) -> int:
    """Return 1 for `minimize` and -1 for `maximize`.

    Raises:
        ValueError: The direction is neither.
    """
    if way not in ("minimize", "maximize"):
        raise ValueError(f"objective {name} must be 'maximize' or 'minimize', got {way!r}")
    return 1 if way == "minimize" else -1


def objective_value(record: TrialRecord, name: str) -> float:
    """Return one metric of a trial.

    Raises:
        ValueError: The metric is missing, NaN or infinite.
    """
    value = record.metrics.get(name)
    if value is None or not math.isfinite(value):
        problem = "has no" if value is None else f"has a non-finite ({value})"
        raise ValueError(f"trial {record.number} {problem} objective {name}: it cannot be ranked")
    return value
