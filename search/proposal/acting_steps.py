"""Which steps of a space are of a kind, follow another, or act alone."""

from compressors.kinds import CompressorKind
from search.recipe.ranges import Range
from search.recipe.space import Space, StepSpace
from search.recipe.step_values import StepValues, acting_compressor, params_for, recovers


def compressor_name(step: StepSpace) -> str:
    """Return the name of the compressor's class, without its module."""
    return step.target.rpartition(".")[2]


def steps_of_kind(space: Space, kind: CompressorKind) -> list[str]:
    """Return the names of the steps of a kind, in order."""
    return [name for name, step in space.steps.items() if acting_compressor(step, {}).kind is kind]


def main_range(step: StepSpace) -> tuple[str, Range | None]:
    """Return the field that makes a step act and its range; None if no such field is searched."""
    return next(((f, r) for f, r in step.ranges.items() if r.when is None), ("", None))


def recovery_after(space: Space, name: str) -> StepValues:
    """Return the first recovery after a step, at its anchor; empty without one."""
    order = list(space.steps)
    recoveries = steps_of_kind(space, CompressorKind.RECOVERS)
    later = [r for r in recoveries if order.index(r) > order.index(name)]
    return {later[0]: {}} if later else {}


def longest_recovery(space: Space) -> float:
    """Return the most epochs that the first recovery of a recipe may have; 0 without one."""
    for name in steps_of_kind(space, CompressorKind.RECOVERS)[:1]:
        step = space.steps[name]
        span = step.ranges.get("epochs")
        return float(span.high if span else step.fixed.get("epochs", 0))
    return 0.0


def acts_alone(space: Space, acting: StepValues) -> bool:
    """Return whether no other step acts, apart from recoveries.

    A step whose range lacks the inactive value always acts.
    """
    recipe = space.recipe(params_for(space, acting), seed=0)
    return {step.name for step in recipe.steps if not recovers(space, step.name)} <= set(acting)
