"""The initial trials of a study: the baseline, reference recipes and encodings alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compressors.kinds import CompressorKind
from search.proposal.acting_steps import acts_alone, recovery_after, steps_of_kind
from search.proposal.levels import levels
from search.proposal.reference_recipes import reference_steps
from search.proposal.strength.directions import damaging_steps
from search.recipe.recipe import Recipe, Step, build_step, values_of
from search.recipe.space import Space
from search.recipe.step_values import StepValues, acting_compressor, params_for, recovers
from search.trial_record import Value

INITIAL_ORIGINS = ("baseline", "rival", "opening", "path", "rate", "encoding", "joint")
"""First words of the origins of trials that do not vary others, as journals keep them: the
baseline, reference recipes, steps alone, the path with its learning rates and encodings, and former
joint recipes."""


@dataclass(frozen=True, kw_only=True)
class InitialTrial:
    """A recipe that is tried before the sampler is asked."""

    origin: str
    params: Mapping[str, Value]
    comes_first: bool = False
    """Whether it comes before anything else."""


def initial_trials(space: Space) -> list[InitialTrial]:
    """Return the initial trials in order.

    The baseline and the reference recipes without training come before everything else. The
    reference recipes with training and the levels of each encoding alone, unless other steps
    always act, follow, then each damaging step that has no strength and so lies on no path. Values
    that the configuration fixes stay.
    """
    untrained, trained = _references(space)
    first = [_baseline(space), *untrained]
    return [
        *(replace(trial, comes_first=True) for trial in first),
        *trained,
        *_encodings(space),
        *_damaging(space),
    ]


def is_initial(origin: str) -> bool:
    """Return whether a trial of this origin is an initial one."""
    return origin.partition(":")[0] in INITIAL_ORIGINS


def anchors(space: Space) -> dict[str, Recipe]:
    """Return the recipe of each step alone at its anchor, by step; recoveries are left out."""
    alone = {}
    for name, step in space.steps.items():
        compressor = acting_compressor(step, {})
        if compressor.active and compressor.kind is not CompressorKind.RECOVERS:
            only = Step(name=name, target=step.target, values=values_of(compressor))
            alone[name] = Recipe(steps=(only,), seed=0)
    return alone


def _baseline(space: Space) -> InitialTrial:
    """Return the uncompressed model, without parameters whose range lacks the inactive value."""
    inactive = {
        span.name: values_of(build_step(step.name, step.target, {}))[field]
        for step in space.steps.values()
        for field, span in step.ranges.items()
    }
    nothing = params_for(space, {})
    params = {n: v for n, v in nothing.items() if n not in inactive or v == inactive[n]}
    return InitialTrial(origin="baseline", params=params)


def _references(space: Space) -> tuple[list[InitialTrial], list[InitialTrial]]:
    """Return the reference recipes without and with a recovery."""
    untrained: list[InitialTrial] = []
    trained: list[InitialTrial] = []
    for name, acting in reference_steps(space).items():
        trains = any(recovers(space, step) for step in acting)
        trial = InitialTrial(origin=f"rival:{name}", params=params_for(space, acting))
        (trained if trains else untrained).append(trial)
    return untrained, trained


def _encodings(space: Space) -> list[InitialTrial]:
    """Return each encoding alone, from low to high."""
    return [
        _step_alone(space, {name: values})
        for name in steps_of_kind(space, CompressorKind.ENCODES_WEIGHTS)
        for values in levels(space.steps[name])
        if acts_alone(space, {name: values})
    ]


def _damaging(space: Space) -> list[InitialTrial]:
    """Return each step that damages a model by a choice, with the recovery after it."""
    return [
        _step_alone(space, {name: {}, **recovery_after(space, name)})
        for kind in (CompressorKind.REMOVES_STRUCTURE, CompressorKind.MASKS_WEIGHTS)
        for name in steps_of_kind(space, kind)
        if name not in damaging_steps(space)
    ]


def _step_alone(space: Space, acting: StepValues) -> InitialTrial:
    return InitialTrial(origin=f"opening:{next(iter(acting))}", params=params_for(space, acting))
