"""The first trials of a study: the baseline itself, then each method alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from compressors.base import Compressor, Kind
from search.recipe import Recipe, Step, build_step, values_of
from search.record import Value
from search.space import NONE, Space, StepSpace


@dataclass(frozen=True, kw_only=True)
class FirstTrial:
    """A recipe that is tried before the sampler has its say."""

    label: str
    """'baseline', or 'anchor:' and the name of the step that is shown."""
    params: Mapping[str, Value]


def first_trials(space: Space) -> list[FirstTrial]:
    """Return the baseline, then one anchor per step in the order of the recipe.

    An anchor acts with one step at its anchor values, beside what the configuration fixes of the
    others; a method that damages the model is followed by the recipe's next recovery step at its
    anchor, since its figures without recovery say little. Of the recovery steps the first stands
    for all. The baseline has no parameter whose
    range does not hold the inactive value.
    """
    inactive = {step.name: _inactive(step) for step in space.steps.values()}
    kinds = {name: compressor.kind for name, compressor in inactive.items()}
    nothing = _params(space, inactive, acting=set())
    ranges = {r.name: (s, f, r) for s in space.steps.values() for f, r in s.ranges.items()}
    idle = {
        name: value
        for name, value in nothing.items()
        if name not in ranges or value == values_of(inactive[ranges[name][0].name])[ranges[name][1]]
    }
    trials = [FirstTrial(label="baseline", params=idle)]
    order = list(space.steps)
    recoveries = [name for name in order if kinds[name] is Kind.RECOVERS]
    for position, name in enumerate(order):
        if name in recoveries[1:]:
            continue
        acting = {name}
        if kinds[name] in (Kind.REMOVES_STRUCTURE, Kind.MASKS_WEIGHTS):
            acting |= set([later for later in recoveries if later in order[position:]][:1])
        params = _params(space, inactive, acting)
        trials.append(FirstTrial(label=f"anchor:{name}", params=params))
    return trials


def anchors(space: Space) -> dict[str, Recipe]:
    """Return for each step that acts at its anchor the recipe of this step alone."""
    alone = {}
    for name, step in space.steps.items():
        values = {f: span.middle() for f, span in step.ranges.items()}
        compressor = build_step(name, step.target, {**step.fixed, **values})
        if compressor.active and compressor.kind is not Kind.RECOVERS:
            only = Step(name=name, target=step.target, values=values_of(compressor))
            alone[name] = Recipe(steps=(only,), seed=0)
    return alone


def _inactive(step: StepSpace) -> Compressor:
    return build_step(step.name, step.target, {})


def _params(space: Space, inactive: Mapping[str, Compressor], acting: set[str]) -> dict[str, Value]:
    """Return parameters at which the acting steps stand at their anchors, the others inactive.

    Where a range does not hold the inactive value, its lowest or first value stands instead.
    """
    params: dict[str, Value] = {}
    for choice, members in space.choices.items():
        if len(members) > 1:
            wanted = [m for m in members if m in acting]
            params[choice] = wanted[0] if wanted else (NONE if NONE in members else members[0])
    for step in space.chosen_steps(params):
        defaults = values_of(inactive[step.name])
        values: dict[str, Value] = {}
        for field, span in step.live(values):
            anchored = step.name in acting
            values[field] = span.middle() if anchored else span.nearest(defaults[field])
            params[span.name] = values[field]
    return params
