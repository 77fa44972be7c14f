"""Where the front lies at the end of a range, and the overrides that move that end outward."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.errors import ConfigError
from search.recipe.ranges import Range
from search.recipe.recipe import build_step
from search.recipe.space import Space, StepSpace
from search.report.step_effects import steps_of
from search.trial_record import TrialRecord

MAX_DISTANCE = 0.02
"""How near to the end of a range, as a share of it, a value counts as being at the end."""
MIN_MEMBERS = 3
HALVINGS = 4


@dataclass(frozen=True, kw_only=True)
class BoundaryHit:
    """An end of a range at which at least half of the front's members lie, three or more."""

    parameter: str
    value: float
    """The end as it is."""
    members: int
    """Members of the front that lie there."""
    of: int
    """Members for which the parameter matters."""
    overrides: str
    """What moves the end outward, to a value that the compressor accepts."""


def crowded_edges(front: Sequence[TrialRecord], space: Space) -> list[BoundaryHit]:
    """Return the ends that can be moved outward, the most crowded first."""
    edges = []
    for step in space.steps.values():
        for field, span in step.ranges.items():
            acting = [r for r in front if step.name in steps_of(r) and span.name in r.params]
            if span.kind == "categorical" or span.low == span.high:
                continue
            places = [_place(span, _number(r.params[span.name])) for r in acting]
            for end in ("low", "high"):
                there = sum(
                    p <= MAX_DISTANCE if end == "low" else p >= 1 - MAX_DISTANCE for p in places
                )
                if there < MIN_MEMBERS or 2 * there < len(places):
                    continue
                if overrides := _outward(step, field, end):
                    edges.append(
                        BoundaryHit(
                            parameter=span.name,
                            value=getattr(span, end),
                            members=there,
                            of=len(places),
                            overrides=overrides,
                        )
                    )
    return sorted(edges, key=lambda edge: (-edge.members / edge.of, -edge.members))


def _number(value: Any) -> float:
    return float(value)


def _place(span: Range, value: float) -> float:
    """Return where a value lies between the ends, from 0 to 1."""
    if span.log:
        return math.log(value / span.low) / math.log(span.high / span.low)
    return (value - span.low) / (span.high - span.low)


def _outward(step: StepSpace, field: str, end: str) -> str:
    """Return the overrides that widen a range, or nothing if the compressor takes no more.

    The end moves by a quarter of the range, by one step where the range has steps, and by half of
    that until the compressor accepts it.
    """
    span = step.ranges[field]
    middles = {f: r.default() for f, r in step.ranges.items()}
    for halving in range(HALVINGS):
        value, grid = _moved(span, end, 0.5**halving)
        if value == getattr(span, end) or (span.log and value <= 0):
            continue
        try:
            build_step(step.name, step.target, {**step.fixed, **middles, field: value})
        except ConfigError:
            continue
        finer = "" if grid == span.step else f" steps.{span.name}.step={grid:g}"
        return f"steps.{span.name}.{end}={value:g}{finer}"
    return ""


def _moved(span: Range, end: str, share: float) -> tuple[float, float | None]:
    """Return an end moved outward by a share of a full move, and the step of the range then."""
    sign = 1 if end == "high" else -1
    now = span.high if end == "high" else span.low
    if span.kind == "int":
        grid = int(span.step or 1)
        count = max(1, round((span.high - span.low) / 4 * share / grid))
        return int(now) + sign * count * grid, span.step
    if span.log:
        value = now * (span.high / span.low) ** (sign * share / 4)
        return float(f"{value:.2g}"), None
    if span.step is None:
        return float(f"{now + sign * share * (span.high - span.low) / 4:.3g}"), None
    return round(now + sign * share * span.step, 10), round(share * span.step, 10)
