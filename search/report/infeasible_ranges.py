"""Parts of ranges and choices that never gave a feasible trial."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search.recipe.ranges import Range
from search.recipe.space import Space
from search.trial_record import TrialRecord, Value

MIN_TRIALS = 5
"""Failing trials that must lie in a part of a range."""
MIN_SHARE = 0.2
"""Share of all trials that one reason must have ended before the space is blamed."""
ENDED_BY_SEARCH = ("stopped", "config_error")
"""Statuses that say nothing against a range."""


@dataclass(frozen=True, kw_only=True)
class InfeasibleRange:
    """The part of one parameter's range in which most trials that failed for one reason lie."""

    reason: str
    """The constraint that these trials break, or their status."""
    failing: int
    """Trials that failed for this reason."""
    part: str
    """The part of the range, in words; no trial in it was feasible."""
    inside: int
    """Failing trials in this part, five or more."""
    override: str
    """The override that removes this part from the space."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of one range without a feasible trial."""

    words: str
    inside: int
    override: str


def failure_reason(record: TrialRecord) -> str | None:
    """Return the constraint that a trial breaks most, or the status of one without metrics.

    A feasible trial has no reason, and neither has one that the search itself ended.
    """
    if record.status != "ok":
        return None if record.status in ENDED_BY_SEARCH else record.status
    broken = {name: value for name, value in record.violations.items() if value > 0}
    return max(broken, key=lambda name: broken[name]) if broken else None


def infeasible_range(records: Sequence[TrialRecord], space: Space) -> InfeasibleRange | None:
    """Return what to remove from a space where one reason ended a fifth of all trials or more.

    A part of a range is blamed only if five failing trials lie in it and no feasible one. Of
    several parts the one with the most failing trials is returned; None if there is no such part.
    """
    reasons = Counter(found for record in records if (found := failure_reason(record)))
    if not reasons:
        return None
    reason, failing = reasons.most_common(1)[0]
    if failing < max(MIN_TRIALS, MIN_SHARE * len(records)):
        return None
    failed = [record for record in records if failure_reason(record) == reason]
    feasible = [record for record in records if record.feasible]
    spans = [span for step in space.steps.values() for span in step.ranges.values()]
    parts = [part for span in spans for part in _parts(span, failed, feasible)]
    worst = max(parts, key=lambda part: part.inside, default=None)
    if worst is None or worst.inside < MIN_TRIALS:
        return None
    return InfeasibleRange(
        reason=reason,
        failing=failing,
        part=worst.words,
        inside=worst.inside,
        override=worst.override,
    )


def _parts(
    span: Range, failed: Sequence[TrialRecord], feasible: Sequence[TrialRecord]
) -> list[_Part]:
    """Return the parts of a range in which no feasible trial lies."""
    bad = [r.params[span.name] for r in failed if span.name in r.params]
    good = [r.params[span.name] for r in feasible if span.name in r.params]
    if not good:
        return []
    if span.kind == "categorical":
        never = [choice for choice in span.choices if choice in bad and choice not in good]
        return [_choice_part(span, choice, bad) for choice in never]
    low, high = min(map(_number, good)), max(map(_number, good))
    return [
        _Part(
            words=f"{span.name} above {high:g}",
            inside=sum(_number(value) > high for value in bad),
            override=f"steps.{span.name}.high={high:g}",
        ),
        _Part(
            words=f"{span.name} below {low:g}",
            inside=sum(_number(value) < low for value in bad),
            override=f"steps.{span.name}.low={low:g}",
        ),
    ]


def _choice_part(span: Range, choice: Value, bad: Sequence[Value]) -> _Part:
    others = ",".join(_override_value(other) for other in span.choices if other != choice)
    return _Part(
        words=f"{span.name}={_override_value(choice)}",
        inside=bad.count(choice),
        override=f"'steps.{span.name}.choices=[{others}]'",
    )


def _override_value(value: Value) -> str:
    """Return a value as an override writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Value) -> float:
    assert isinstance(value, (int, float))
    return float(value)
