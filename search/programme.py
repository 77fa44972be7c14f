"""Recipes that an integer programme combines from what each step alone did to the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compressors.allocation import allocate
from search.acting import params_of, recovers
from search.constraints import Constraint
from search.record import TrialRecord, Value
from search.space import Space

BUDGETS = (0.3, 0.45, 0.6, 0.75)
"""Shares of the greatest reduction, in the logarithm, that the recipes are to reach."""
WEIGHTS_OF_SIZE = (1.0, 0.4)
"""How much of a reduction is size; the rest is latency or operations."""
LEAST_DAMAGE = 1e-4
"""In the unit of the loss; a step that improves the model costs this much."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One step at one value, as its own trial showed it."""

    step: str
    values: Mapping[str, Value]
    damage: float
    """By which the loss grows."""
    size: float
    """Logarithm of the share of bytes that is left."""
    speed: float
    """Logarithm of the share of latency that is left, or of multiply-accumulates."""


def programme(
    space: Space,
    records: Sequence[TrialRecord],
    objectives: Mapping[str, str],
    constraints: Sequence[Constraint],
) -> list[dict[str, Value]]:
    """Return the parameters of recipes of least damage at a ladder of budgets, with recovery.

    Damages of steps are taken to add up, and their savings to multiply; which levels go together
    is a multiple-choice knapsack. A step that alone breaks a constraint on the score does not take
    part.
    """
    speed = "latency_ratio" if any(name.startswith("latency") for name in objectives) else "macs"
    by_step = _levels(space, records, constraints, speed)
    if not by_step:
        return []
    recipes: list[dict[str, Value]] = []
    for weight in WEIGHTS_OF_SIZE:
        costs = [[level.damage for level in by_step[name]] for name in by_step]
        sizes = [
            [weight * level.size + (1 - weight) * level.speed for level in by_step[name]]
            for name in by_step
        ]
        for chosen in _solutions(costs, sizes):
            levels = [by_step[name][place] for name, place in zip(by_step, chosen, strict=True)]
            params = _params(space, [level for level in levels if level.step])
            if params not in recipes:
                recipes.append(params)
    return recipes


def _solutions(
    costs: Sequence[Sequence[float]], sizes: Sequence[Sequence[float]]
) -> list[list[int]]:
    """Return for each budget the place of the level of each step; places of one choice clash."""
    least = [min(levels) for levels in sizes]
    above = [[size - low for size in levels] for levels, low in zip(sizes, least, strict=True)]
    reach = -sum(least)
    return [allocate(costs, above, max((1 - share) * reach, 1e-9)) for share in BUDGETS]


def _levels(
    space: Space, records: Sequence[TrialRecord], constraints: Sequence[Constraint], speed: str
) -> dict[str, list[Level]]:
    """Return the levels by step, and by choice those of all its steps; the first does nothing."""
    baseline = next((r for r in records if r.label == "baseline" and r.metrics), None)
    found: dict[str, list[Level]] = {}
    if baseline is None:
        return found
    nothing = Level(step="", values={}, damage=0.0, size=0.0, speed=0.0)
    on_score = {str(c) for c in constraints if c.metric in ("score", "score_drop", "relative_drop")}
    for record in records:
        acting = [name for name in record.recipe["steps"] if not recovers(space, name)]
        broken = any(record.violations.get(name, 0) > 0 for name in on_score)
        if len(acting) != 1 or not record.metrics or broken:
            continue
        name = acting[0]
        place = next((c for c, members in space.choices.items() if name in members), name)
        level = _level(space, record, name, baseline.metrics, speed)
        if level not in found.setdefault(place, [nothing]):
            found[place].append(level)
    return found


def _level(
    space: Space, record: TrialRecord, name: str, before: Mapping[str, float], speed: str
) -> Level:
    after = record.metrics
    spans = space.steps[name].ranges.items()
    return Level(
        step=name,
        values={f: record.params[s.name] for f, s in spans if s.name in record.params},
        damage=max(after["nll"] - before["nll"], LEAST_DAMAGE),
        size=float(np.log(after["size_bytes"] / before["size_bytes"])),
        speed=float(np.log(after[speed] / before[speed])),
    )


def _params(space: Space, levels: Sequence[Level]) -> dict[str, Value]:
    acting: dict[str, Mapping[str, Value]] = {level.step: level.values for level in levels}
    return params_of(space, acting | {name: {} for name in space.steps if recovers(space, name)})
