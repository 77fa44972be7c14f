"""The parameters at which some steps of a space act and the others are inactive."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from compressors.kinds import CompressorKind
from search.recipe.recipe import build_step, values_of
from search.recipe.space import NONE, Space, StepSpace
from search.trial_record import Value

if TYPE_CHECKING:
    from compressors.base import Compressor

StepValues = Mapping[str, Mapping[str, Value]]
"""For each step that acts, the values of the fields that are not at their anchors."""


def params_for(space: Space, acting: StepValues) -> dict[str, Value]:
    """Return the parameters at which the given steps act and all others are inactive.

    Args:
        space: The space of recipes.
        acting: The steps that act, at their anchors except for the given values.

    Returns:
        The parameters by name. A range that lacks the inactive value takes its lowest or first one.
    """
    params: dict[str, Value] = {}
    for choice, members in space.choices.items():
        if len(members) > 1:
            wanted = [m for m in members if m in acting]
            params[choice] = wanted[0] if wanted else (NONE if NONE in members else members[0])
    for step in space.chosen_steps(params):
        defaults = values_of(build_step(step.name, step.target, {}))
        values: dict[str, Value] = {}
        for field, span in step.active_fields(values):
            if step.name in acting:
                given = acting[step.name].get(field)
                values[field] = given if given is not None and given in span else span.default()
            else:
                values[field] = span.nearest(defaults[field])
            params[span.name] = values[field]
    return params


def acting_compressor(step: StepSpace, given: Mapping[str, Value]) -> "Compressor":
    """Build the compressor of a step at its anchors, except for the given values."""
    values = {field: span.default() for field, span in step.ranges.items()}
    return build_step(step.name, step.target, {**step.fixed, **values, **given})


def recovers(space: Space, name: str) -> bool:
    """Return whether a step of a recipe, or the part of a step, is a recovery."""
    step = space.steps.get(name.partition(".")[0])
    return (
        step is not None and build_step(step.name, step.target, {}).kind is CompressorKind.RECOVERS
    )
