"""Parts of ranges and choices that never gave a feasible trial."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search.recipe.ranges import Range
from search.recipe.space import Space
from search.recipe.step_values import recovers
from search.report.significance import LEVEL, MIN_FAILING, chance_of_at_least
from search.trial_record import TrialRecord, Value

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
    chance: float
    """The chance that only failing trials lie there if the parameter does not matter."""


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

    A part of a range is blamed only if five failing trials lie in it and no feasible one, and if
    chance would not put them there (the exact test of Fisher, at `LEVEL` for all parts together). A
    recovery is never made shorter, save where trials run out of time: recipes have a long one where
    they were damaged. Of several parts the one with the most failing trials is returned; None if
    there is no such part.
    """
    reasons = Counter(found for record in records if (found := failure_reason(record)))
    if not reasons:
        return None
    reason, failing = reasons.most_common(1)[0]
    if failing < max(MIN_FAILING, MIN_SHARE * len(records)):
        return None
    failed = [record for record in records if failure_reason(record) == reason]
    feasible = [record for record in records if record.feasible]
    spans = [
        span
        for step in space.steps.values()
        for field, span in step.ranges.items()
        if reason == "timeout" or not (field == "epochs" and recovers(space, step.name))
    ]
    ends = [part for span in spans for part in _parts(span, failed, feasible)]
    parts = [part for part in ends if part.inside >= MIN_FAILING]
    unlikely = [part for part in parts if part.chance <= LEVEL / len(parts)]
    worst = max(unlikely, key=lambda part: part.inside, default=None)
    if worst is None:
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
        return [_choice_part(span, choice, bad, len(good)) for choice in never]
    low, high = min(map(_number, good)), max(map(_number, good))
    above = sum(_number(value) > high for value in bad)
    below = sum(_number(value) < low for value in bad)
    return [
        _Part(
            words=f"{span.name} above {high:g}",
            inside=above,
            override=f"steps.{span.name}.high={high:g}",
            chance=_chance(above, len(bad), len(good)),
        ),
        _Part(
            words=f"{span.name} below {low:g}",
            inside=below,
            override=f"steps.{span.name}.low={low:g}",
            chance=_chance(below, len(bad), len(good)),
        ),
    ]


def _chance(inside: int, bad: int, good: int) -> float:
    """Return the chance that the outermost `inside` values of a range all failed."""
    return chance_of_at_least(inside, inside, of=bad, total=bad + good)


def _choice_part(span: Range, choice: Value, bad: Sequence[Value], good: int) -> _Part:
    others = ",".join(_override_value(other) for other in span.choices if other != choice)
    return _Part(
        words=f"{span.name}={_override_value(choice)}",
        inside=bad.count(choice),
        override=f"'steps.{span.name}.choices=[{others}]'",
        chance=_chance(bad.count(choice), len(bad), good),
    )


def _override_value(value: Value) -> str:
    """Return a value as an override writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Value) -> float:
    assert isinstance(value, (int, float))
    return float(value)
