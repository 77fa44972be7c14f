"""Ends of ranges at which the front lies, and the overrides that move these ends outward."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.errors import ConfigError
from search.recipe.recipe import build_step
from search.recipe.space import Range, Space, StepSpace
from search.report.step_effects import steps_of
from search.trial_record import TrialRecord

MAX_DISTANCE = 0.02
"""Largest distance from an end of a range at which a value counts as being there, as a share of
the range."""
MIN_MEMBERS = 3
"""Members of the front that must lie at an end."""
MAX_HALVINGS = 4
"""Attempts to move an end, each by half of the distance before."""


@dataclass(frozen=True, kw_only=True)
class BoundaryHit:
    """An end of a range at which at least half of the front's members lie, three or more."""

    parameter: str
    value: float
    """The end of the range."""
    members: int
    """Members of the front at this end."""
    of: int
    """Members of the front that have the parameter."""
    overrides: str
    """Overrides that move the end outward, to a value that the compressor accepts."""


def boundary_hits(front: Sequence[TrialRecord], space: Space) -> list[BoundaryHit]:
    """Return the ends of ranges that can be moved outward, those with most members first."""
    hits = [
        hit
        for step in space.steps.values()
        for field in step.ranges
        for end in ("low", "high")
        if (hit := _hit_at(end, step, field, front))
    ]
    return sorted(hits, key=lambda hit: (-hit.members / hit.of, -hit.members))


def _hit_at(
    end: str, step: StepSpace, field: str, front: Sequence[TrialRecord]
) -> BoundaryHit | None:
    """Return the hit at one end of a field's range, None if there is none."""
    span = step.ranges[field]
    if span.kind == "categorical" or span.low == span.high:
        return None
    having = [r for r in front if step.name in steps_of(r) and span.name in r.params]
    fractions = [span.fraction_of(r.params[span.name]) for r in having]
    members = sum(f <= MAX_DISTANCE if end == "low" else f >= 1 - MAX_DISTANCE for f in fractions)
    if members < MIN_MEMBERS or 2 * members < len(having):
        return None
    overrides = _outward(step, field, end)
    if not overrides:
        return None
    return BoundaryHit(
        parameter=span.name,
        value=getattr(span, end),
        members=members,
        of=len(having),
        overrides=overrides,
    )


def _outward(step: StepSpace, field: str, end: str) -> str:
    """Return the overrides that widen a range; nothing if the compressor accepts no wider one.

    The end moves by a quarter of the range, or by one step of a range with steps. Where the
    compressor rejects the value, half of that distance is tried next.
    """
    span = step.ranges[field]
    defaults = {name: other.default() for name, other in step.ranges.items()}
    for halving in range(MAX_HALVINGS):
        value, grid = _moved(span, end, 0.5**halving)
        if value == getattr(span, end) or (span.log and value <= 0):
            continue
        try:
            build_step(step.name, step.target, {**step.fixed, **defaults, field: value})
        except ConfigError:
            continue
        finer = "" if grid == span.step else f" steps.{span.name}.step={grid:g}"
        return f"steps.{span.name}.{end}={value:g}{finer}"
    return ""


def _moved(span: Range, end: str, share: float) -> tuple[float, float | None]:
    """Return an end moved outward by a share of a full move, and the range's step after it."""
    sign = 1 if end == "high" else -1
    current = span.high if end == "high" else span.low
    if span.kind == "int":
        grid = int(span.step or 1)
        count = max(1, round((span.high - span.low) / 4 * share / grid))
        return int(current) + sign * count * grid, span.step
    if span.log:
        value = current * (span.high / span.low) ** (sign * share / 4)
        return float(f"{value:.2g}"), None
    if span.step is None:
        return float(f"{current + sign * share * (span.high - span.low) / 4:.3g}"), None
    return round(current + sign * share * span.step, 10), round(share * span.step, 10)
