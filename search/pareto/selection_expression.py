"""The expressions that select a trial: a metric to maximise or minimise, within bounds."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from search.errors import SelectionError
from search.trial_record import TrialRecord

GRAMMAR = (
    "knee, or: max|min METRIC [where METRIC OP NUMBER [and METRIC OP NUMBER ...]] "
    "with OP one of <=, >=, <, >, ==; for example: max score where size_bytes<=20000"
)
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
_METRIC = r"[A-Za-z_][\w./-]*"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_GOAL = re.compile(rf"(max|min)\s+({_METRIC})(?:\s+where\s+(.+))?")
_BOUND = re.compile(rf"({_METRIC})\s*(<=|>=|==|<|>)\s*({_NUMBER})")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One condition on a metric of a trial."""

    metric: str
    relation: str
    """A key of `OPERATORS`."""
    limit: float

    def holds(self, record: TrialRecord) -> bool:
        """Return whether a trial has the metric and satisfies the relation."""
        value = record.metrics.get(self.metric)
        return value is not None and OPERATORS[self.relation](value, self.limit)

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.limit:.12g}"


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The metric to maximise or minimise, within bounds."""

    metric: str
    largest: bool
    """Whether the largest value is wanted, or else the smallest."""
    bounds: tuple[Bound, ...]


def parse(expression: str) -> Goal:
    """Parse `max|min METRIC [where ...]`.

    Raises:
        SelectionError: The expression is malformed; the message gives the grammar.
    """
    goal = _GOAL.fullmatch(expression.strip())
    if goal is None:
        raise SelectionError(f"cannot read select={expression!r}; write {GRAMMAR}")
    way, metric, conditions = goal.groups()
    bounds = []
    for condition in re.split(r"\s+and\s+", conditions or ""):
        if conditions is None:
            break
        parts = _BOUND.fullmatch(condition.strip())
        if parts is None:
            raise SelectionError(
                f"cannot read {condition.strip()!r} in select={expression!r}; write {GRAMMAR}"
            )
        name, relation, number = parts.groups()
        bounds.append(Bound(metric=name, relation=relation, limit=float(number)))
    return Goal(metric=metric, largest=way == "max", bounds=tuple(bounds))
