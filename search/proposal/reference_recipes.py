"""The reference recipes: what anybody would try first, and a search must beat to be worth it."""

from collections.abc import Mapping

from compressors.kinds import CompressorKind
from search.proposal.acting_steps import acts_alone, compressor_name, recovery_after
from search.recipe.space import Space, StepSpace
from search.recipe.step_values import StepValues, acting_compressor
from search.trial_record import Value

REFERENCE_RECIPES: Mapping[str, Mapping[str, Mapping[str, Value]]] = {
    "int8": {"Quantization": {"bits": 8}},
    "4 bits": {"Quantization": {"bits": 4, "allocation": "uniform"}},
    "int8 and half the channels": {
        "ChannelPruning": {"ratio": 0.5, "allocation": "uniform"},
        "Quantization": {"bits": 8},
    },
}
"""By name, the values by compressor; a recovery follows where structure is removed."""


def reference_steps(space: Space) -> dict[str, StepValues]:
    """Return by name the reference recipes that a space can express, as the steps that act."""
    found = {name: _steps_of(space, values) for name, values in REFERENCE_RECIPES.items()}
    return {
        name: acting
        for name, acting in found.items()
        if acting is not None and acts_alone(space, acting)
    }


def _steps_of(space: Space, recipe: Mapping[str, Mapping[str, Value]]) -> StepValues | None:
    """Return the steps and values of a reference recipe; None if the space cannot express it."""
    acting: dict[str, Mapping[str, Value]] = {}
    for compressor, values in recipe.items():
        step = next((s for s in space.steps.values() if compressor_name(s) == compressor), None)
        if step is None or not all(_admits(step, field, v) for field, v in values.items()):
            return None
        acting[step.name] = values
        if acting_compressor(step, {}).kind is not CompressorKind.ENCODES_WEIGHTS:
            acting |= recovery_after(space, step.name)
    return acting


def _admits(step: StepSpace, field: str, value: Value) -> bool:
    """Return whether a field of a step can have a value."""
    if field in step.ranges:
        return value in step.ranges[field]
    return bool(getattr(acting_compressor(step, {}), field) == value)
