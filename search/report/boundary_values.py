"""Ends of ranges at which the front lies, and the overrides that move these ends outward."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.errors import ConfigError
from search.recipe.ranges import Range
from search.recipe.recipe import build_step
from search.recipe.space import Space, StepSpace
from search.recipe.step_values import recovers
from search.report.significance import LEVEL, MIN_MEMBERS, chance_of_at_least
from search.report.step_effects import steps_of
from search.trial_record import TrialRecord, Value

MAX_DISTANCE = 0.02
"""Largest distance from an end of a range at which a value counts as being there, as a share of
the range."""
MAX_HALVINGS = 4
"""Attempts to move an end, each by half of the distance before."""


@dataclass(frozen=True, kw_only=True)
class BoundaryHit:
    """An end of a range at which at least half of the front's members lie, three or more.

    More of them lie there than of as many measured trials that are drawn at random.
    """

    parameter: str
    value: float
    """The end of the range."""
    members: int
    """Members of the front at this end."""
    of: int
    """Members of the front that have the parameter."""
    trials: int
    """Measured trials at this end."""
    of_trials: int
    """Measured trials that have the parameter."""
    overrides: str
    """Overrides that move the end outward, to a value that the compressor accepts."""


@dataclass(frozen=True, kw_only=True)
class _End:
    """One end of the range of a step's field."""

    step: StepSpace
    field: str
    side: str
    """`low` or `high`."""

    @property
    def span(self) -> Range:
        """The whole range."""
        return self.step.ranges[self.field]

    @property
    def value(self) -> float:
        """The value at this end."""
        return self.span.high if self.side == "high" else self.span.low

    def holds(self, value: Value) -> bool:
        """Tell whether a value lies at this end."""
        fraction = self.span.fraction_of(value)
        return fraction <= MAX_DISTANCE if self.side == "low" else fraction >= 1 - MAX_DISTANCE

    def count(self, records: Sequence[TrialRecord]) -> tuple[int, int]:
        """Return how many trials lie at this end, and how many have the parameter."""
        name = self.span.name
        having = [r for r in records if self.step.name in steps_of(r) and name in r.params]
        return sum(self.holds(record.params[name]) for record in having), len(having)


def boundary_hits(
    front: Sequence[TrialRecord], records: Sequence[TrialRecord], space: Space
) -> list[BoundaryHit]:
    """Return the ends of ranges that can be moved outward, those with most members first.

    Args:
        front: Members of the front.
        records: All trials. Where the search tried little else, or the others lie at the end as
            often, nothing shows that the end is better.
        space: The ranges. No recovery is made shorter.
    """
    ends = [
        _End(step=step, field=field, side=side)
        for step in space.steps.values()
        for field, span in step.ranges.items()
        if span.kind != "categorical" and span.low != span.high
        for side in ("low", "high")
        if not (field == "epochs" and side == "low" and recovers(space, step.name))
    ]
    crowded = [end for end in ends if _crowded(*end.count(front))]
    measured = [record for record in records if record.status == "ok"]
    level = LEVEL / max(1, len(crowded))
    hits = [hit for end in crowded if (hit := _hit(end, front, measured, level))]
    return sorted(hits, key=lambda hit: (-hit.members / hit.of, -hit.members))


def _crowded(members: int, of: int) -> bool:
    return members >= MIN_MEMBERS and 2 * members >= of


def _hit(
    end: _End, front: Sequence[TrialRecord], measured: Sequence[TrialRecord], level: float
) -> BoundaryHit | None:
    """Return the hit at an end; None if chance explains it or it cannot be moved."""
    members, of = end.count(front)
    trials, of_trials = end.count(measured)
    if chance_of_at_least(members, of, of=trials, total=of_trials) > level:
        return None
    overrides = _outward(end)
    if not overrides:
        return None
    return BoundaryHit(
        parameter=end.span.name,
        value=end.value,
        members=members,
        of=of,
        trials=trials,
        of_trials=of_trials,
        overrides=overrides,
    )


def _outward(end: _End) -> str:
    """Return the overrides that widen a range; nothing if the compressor accepts no wider one.

    The end moves by a quarter of the range, or by one step of a range with steps. Where the
    compressor rejects the value, half of that distance is tried next.
    """
    step, span = end.step, end.span
    defaults = {name: other.default() for name, other in step.ranges.items()}
    for halving in range(MAX_HALVINGS):
        value, grid = _moved(end, 0.5**halving)
        if value == end.value or (span.log and value <= 0):
            continue
        try:
            build_step(step.name, step.target, {**step.fixed, **defaults, end.field: value})
        except ConfigError:
            continue
        finer = "" if grid == span.step else f" steps.{span.name}.step={grid:g}"
        return f"steps.{span.name}.{end.side}={value:g}{finer}"
    return ""


def _moved(end: _End, share: float) -> tuple[float, float | None]:
    """Return an end moved outward by a share of a full move, and the range's step after it."""
    span, sign = end.span, 1 if end.side == "high" else -1
    if span.kind == "int":
        grid = int(span.step or 1)
        count = max(1, round((span.high - span.low) / 4 * share / grid))
        return int(end.value) + sign * count * grid, span.step
    if span.log:
        value = end.value * (span.high / span.low) ** (sign * share / 4)
        return float(f"{value:.2g}"), None
    if span.step is None:
        return float(f"{end.value + sign * share * (span.high - span.low) / 4:.3g}"), None
    return round(end.value + sign * share * span.step, 10), round(share * span.step, 10)
