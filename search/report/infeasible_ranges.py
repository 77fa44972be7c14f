"""Which part of a range, or which choice, never gave a feasible trial."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search.recipe.ranges import Range
from search.recipe.space import Space
from search.trial_record import TrialRecord, Value

MIN_TRIALS = 5
MANY = 0.2
"""The share of all trials that one reason must have ended before the space is blamed."""
NO_FAULT = ("stopped", "refused")
"""Outcomes that say nothing against a range: the search itself ended these trials."""


@dataclass(frozen=True, kw_only=True)
class InfeasibleRange:
    """The part of one parameter's range that most trials with one failing have in common."""

    reason: str
    """The constraint that they break, or the outcome that they had."""
    failing: int
    """Trials that failed for this reason."""
    part: str
    """The part of the range, in which no trial was feasible."""
    inside: int
    """Trials of the failing that lie there, five or more."""
    override: str
    """What takes this part away."""


def reason(record: TrialRecord) -> str | None:
    """Return the constraint that a trial breaks most, or how it ended; None where it is feasible.

    Trials that the search itself ended have no reason either.
    """
    if record.status != "ok":
        return None if record.status in NO_FAULT else record.status
    broken = {name: value for name, value in record.violations.items() if value > 0}
    return max(broken, key=lambda name: broken[name]) if broken else None


def culprit(records: Sequence[TrialRecord], space: Space) -> InfeasibleRange | None:
    """Return what to take away where one reason ended a fifth of all trials or more.

    A part of a range is only blamed if five failing trials lie in it and no feasible one; of
    several parts the one with the most failing trials is named.
    """
    reasons = Counter(found for record in records if (found := reason(record)))
    if not reasons:
        return None
    name, failing = reasons.most_common(1)[0]
    if failing < max(MIN_TRIALS, MANY * len(records)):
        return None
    bad = [record for record in records if reason(record) == name]
    good = [record for record in records if record.feasible]
    spans = [span for step in space.steps.values() for span in step.ranges.values()]
    parts = [part for span in spans for part in _dead_parts(span, bad, good)]
    inside, part, override = max(parts, key=lambda found: found[0], default=(0, "", ""))
    if inside < MIN_TRIALS:
        return None
    return InfeasibleRange(
        reason=name, failing=failing, part=part, inside=inside, override=override
    )


def _dead_parts(
    span: Range, bad: Sequence[TrialRecord], good: Sequence[TrialRecord]
) -> list[tuple[int, str, str]]:
    """Return the parts without a feasible trial: failing trials there, their words, the cure."""
    lost = [r.params[span.name] for r in bad if span.name in r.params]
    kept = [r.params[span.name] for r in good if span.name in r.params]
    if not kept:
        return []
    if span.kind == "categorical":
        dead = [choice for choice in span.choices if choice in lost and choice not in kept]
        return [_dead_choice(span, choice, lost) for choice in dead]
    low, high = min(map(_number, kept)), max(map(_number, kept))
    above, below = [sum(_number(v) > high for v in lost), sum(_number(v) < low for v in lost)]
    return [
        (above, f"{span.name} above {high:g}", f"steps.{span.name}.high={high:g}"),
        (below, f"{span.name} below {low:g}", f"steps.{span.name}.low={low:g}"),
    ]


def _dead_choice(span: Range, choice: Value, lost: Sequence[Value]) -> tuple[int, str, str]:
    rest = ",".join(_written(other) for other in span.choices if other != choice)
    cure = f"'steps.{span.name}.choices=[{rest}]'"
    return lost.count(choice), f"{span.name}={_written(choice)}", cure


def _written(value: Value) -> str:
    """Return a value as an override writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Value) -> float:
    assert isinstance(value, (int, float))
    return float(value)
