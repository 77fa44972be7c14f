"""The expressions that select a trial: its number, or the best one in a sense, within bounds."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from search.errors import SelectionError
from search.pareto.bounds import METRIC, NUMBER, Bound, parse_bound

GRAMMAR = (
    "a trial's number, or: knee|smallest|fastest|best|max METRIC|min METRIC "
    "[weighing OBJECTIVE=NUMBER, ...] [where METRIC OP NUMBER[UNIT] [and ...]] with OP one of "
    "<=, >=, <, >, ==; for example: smallest where score_drop <= 1%"
)
_NUMBERED = re.compile(r"\d+")
_GOAL = re.compile(
    rf"(?:(?P<word>knee|smallest|fastest|best)|(?P<way>max|min)\s+(?P<metric>{METRIC}))"
    r"(?:\s+weighing\s+(?P<weights>.+?))?(?:\s+where\s+(?P<bounds>.+))?"
)
_WEIGHT = re.compile(rf"({METRIC})\s*=\s*({NUMBER})")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a trial is selected by: its number, or a goal within bounds."""

    number: int | None = None
    word: str = ""
    """knee, smallest, fastest, best, max or min; empty with a number."""
    metric: str = ""
    """What `max` and `min` mean."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights of objectives for the knee."""
    bounds: tuple[Bound, ...] = ()


def parse(expression: str) -> Choice:
    """Read an expression of the form `GRAMMAR`.

    Raises:
        SelectionError: The expression is malformed; the message gives the grammar.
    """
    text = expression.strip()
    if _NUMBERED.fullmatch(text):
        return Choice(number=int(text))
    goal = _GOAL.fullmatch(text)
    if goal is None:
        raise SelectionError(f"cannot read select={expression!r}; write {GRAMMAR}")
    word = goal["word"] or goal["way"]
    weights = _weights(goal["weights"], expression) if goal["weights"] else {}
    if weights and word != "knee":
        raise SelectionError(f"select={expression!r}: only the knee weighs objectives, not {word}")
    return Choice(
        word=word,
        metric=goal["metric"] or "",
        weights=weights,
        bounds=_bounds(goal["bounds"], expression) if goal["bounds"] else (),
    )


def _weights(text: str, expression: str) -> dict[str, float]:
    weights = {}
    for part in re.split(r"\s*,\s*|\s+and\s+", text):
        parts = _WEIGHT.fullmatch(part.strip())
        if parts is None:
            raise _unread(part, expression)
        weight = float(parts[2])
        if not 0 < weight < math.inf:
            raise SelectionError(
                f"select={expression!r}: a weight must be a finite number above 0, got {parts[2]}"
            )
        weights[parts[1]] = weight
    return weights


def _bounds(text: str, expression: str) -> tuple[Bound, ...]:
    bounds = []
    for condition in re.split(r"\s+and\s+", text):
        try:
            bound = parse_bound(condition)
        except ValueError as error:
            raise SelectionError(str(error)) from error
        if bound is None:
            raise _unread(condition, expression)
        bounds.append(bound)
    return tuple(bounds)


def _unread(part: str, expression: str) -> SelectionError:
    return SelectionError(f"cannot read {part.strip()!r} in select={expression!r}; write {GRAMMAR}")
