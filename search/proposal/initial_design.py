"""The first trials of a study: the uncompressed model, rivals to beat, and a portfolio."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compressors.kinds import CompressorKind
from search.recipe.ranges import Range
from search.recipe.recipe import Recipe, Step, build_step, values_of
from search.recipe.space import Space, StepSpace
from search.recipe.step_values import StepValues, acting_compressor, params_for, recovers
from search.trial_record import Value

LEVELS = 3
"""The most values of an encoding that are tried."""

RIVALS: Mapping[str, Mapping[str, Mapping[str, Value]]] = {
    "int8": {"Quantization": {"bits": 8}},
    "4 bits": {"Quantization": {"bits": 4, "allocation": "uniform"}},
    "int8 and half the channels": {
        "ChannelPruning": {"ratio": 0.5, "allocation": "uniform"},
        "Quantization": {"bits": 8},
    },
}
"""What anybody would try first, by compressor, with recovery where structure goes; a search that
does not beat it was not needed."""


@dataclass(frozen=True, kw_only=True)
class PortfolioRecipe:
    """Compressors that act together, with recovery and an encoding."""

    shares: Mapping[str, float]
    """By compressor, at which share of its range it stands."""
    aligned: bool = True
    """Whether channels stay multiples of `ALIGNED`, where they may."""


PORTFOLIO = (
    PortfolioRecipe(shares={"ChannelPruning": 1, "LowRank": 0.4}, aligned=False),
    PortfolioRecipe(shares={"LayerRemoval": 1, "ChannelPruning": 1}, aligned=False),
    PortfolioRecipe(shares={"LayerRemoval": 1, "ChannelPruning": 1}),
    PortfolioRecipe(shares={"LayerRemoval": 1, "ChannelPruning": 0.5, "LowRank": 0.2}),
    PortfolioRecipe(
        shares={"ChannelPruning": 1, "LowRank": 0.4, "WeightPruning": 0.6}, aligned=False
    ),
    PortfolioRecipe(shares={"LayerRemoval": 1, "ChannelPruning": 0.8, "LowRank": 0.2}),
    PortfolioRecipe(shares={"ChannelPruning": 2 / 3, "LowRank": 0.2, "WeightPruning": 0.6}),
    PortfolioRecipe(
        shares={"LayerRemoval": 1, "ChannelPruning": 0.5, "LowRank": 0.2, "WeightPruning": 0.8}
    ),
    PortfolioRecipe(shares={"LayerRemoval": 1 / 3, "ChannelPruning": 1 / 3, "LowRank": 0.2}),
)
"""What goes well together: a portfolio of first recipes (Feurer et al., 2022, arXiv:2007.04074),
small models first, as they train fastest; the first of all makes any network small, also one that
has no blocks to remove. Ranks are shared out among layers by measured sensitivity, where they may:
the same loss of energy in every layer left LeNet-5 and the digits' network larger and worse."""
ALIGNED = 8
"""Kernels take channels by so many."""
FIRST_OF_ALL = 6
"""So many of them come before the encodings alone, and before variations."""
ENCODED = 1 / 4
"""At which share of its range the encoding stands that ends them."""


@dataclass(frozen=True, kw_only=True)
class InitialTrial:
    """A recipe that is tried before the sampler has its say."""

    origin: str
    params: Mapping[str, Value]
    urgent: bool = False
    """Whether it comes before any variation of what was found."""


def initial_trials(space: Space) -> list[InitialTrial]:
    """Return the baseline, what needs no training, and a portfolio of recipes with recovery.

    Without training there are rivals and, from low to high, each encoding, unless other steps
    always act. A step that damages a model and is not in the portfolio is tried alone. Whatever the
    configuration fixes stays. The baseline has no parameter whose range does not hold the inactive
    value.
    """
    untrained: list[InitialTrial] = []
    trained: list[InitialTrial] = []
    for name, rival in RIVALS.items():
        acting = _steps_of(space, rival)
        if acting is not None and _alone(space, acting):
            recovery = any(recovers(space, step) for step in acting)
            trial = InitialTrial(origin=f"rival:{name}", params=params_for(space, acting))
            (trained if recovery else untrained).append(trial)
    encodings = [
        _opening(space, {name: values})
        for name in _of_kind(space, CompressorKind.ENCODES_WEIGHTS)
        for values in levels(space.steps[name])
        if _alone(space, {name: values})
    ]
    portfolio = [steps for joint in PORTFOLIO if (steps := _joint(space, joint))]
    together = [
        InitialTrial(origin="joint", params=params_for(space, steps)) for steps in portfolio
    ]
    covered = {name for steps in portfolio for name in steps}
    alone = [
        _opening(space, {name: {}, **_recovery_after(space, name)})
        for kind in (CompressorKind.REMOVES_STRUCTURE, CompressorKind.MASKS_WEIGHTS)
        for name in _of_kind(space, kind)
        if name not in covered
    ]
    baseline = InitialTrial(origin="baseline", params=_baseline(space))
    small, large = together[:FIRST_OF_ALL], together[FIRST_OF_ALL:]
    urgent = [replace(trial, urgent=True) for trial in (baseline, *untrained, *small)]
    return [*urgent, *encodings, *large, *trained, *alone]


def _opening(space: Space, acting: StepValues) -> InitialTrial:
    return InitialTrial(origin=f"opening:{next(iter(acting))}", params=params_for(space, acting))


def _recovery_after(space: Space, name: str) -> StepValues:
    """Return the first recovery after a step, to stand at its anchor; nothing if there is none."""
    order = list(space.steps)
    later = [
        r for r in _of_kind(space, CompressorKind.RECOVERS) if order.index(r) > order.index(name)
    ]
    return {later[0]: {}} if later else {}


def _joint(space: Space, joint: PortfolioRecipe) -> StepValues:
    """Return the steps that are there, then all recoveries and the first encoding.

    The more is taken away, the more recovery is like a training from scratch: its learning rate
    lies as far between its anchor and the highest. Nothing if none of the steps is there.
    """
    acting: dict[str, Mapping[str, Value]] = {}
    for name, step in space.steps.items():
        share = joint.shares.get(_class(step))
        field, span = _main_range(step)
        if share is not None and span is not None and span.kind != "categorical":
            wanted: dict[str, Value] = {"round_to": ALIGNED} if joint.aligned else {}
            wanted |= {"allocation": "sensitivity"} if _class(step) == "LowRank" else {}
            acting[name] = {field: span.interpolate(share), **wanted}
    if not acting:
        return acting
    cut = set(_of_kind(space, CompressorKind.REMOVES_STRUCTURE)) & set(acting)
    strength = max((joint.shares[_class(space.steps[name])] for name in cut), default=0.0)
    for name in _of_kind(space, CompressorKind.RECOVERS):
        span = space.steps[name].ranges.get("learning_rate")
        first = not any(recovers(space, other) for other in acting)
        acting[name] = {"learning_rate": _raised(span, strength)} if span and first else {}
    for name in _of_kind(space, CompressorKind.ENCODES_WEIGHTS)[:1]:
        field, span = _main_range(space.steps[name])
        numbers = span is not None and span.kind != "categorical"
        acting[name] = {field: span.interpolate(ENCODED)} if span and numbers else {}
    return acting


def _class(step: StepSpace) -> str:
    return step.target.rpartition(".")[2]


def _raised(span: Range, share: float) -> Value:
    """Return the value at a share of the way from the anchor to the highest; the one of choices."""
    anchor = span.default()
    if span.kind == "categorical":
        return anchor
    place = span.fraction_of(anchor)
    return span.interpolate(place + share * (1 - place))


def is_initial(origin: str) -> bool:
    """Whether a trial of this origin is one of the first."""
    return origin.partition(":")[0] in ("baseline", "rival", "opening", "joint")


def levels(step: StepSpace) -> list[dict[str, Value]]:
    """Return growing values of the field that makes a step act, those at which it does."""
    field, span = _main_range(step)
    if span is None:
        return [{}]
    found = [{field: value} for value in ladder(span)]
    return [values for values in found if acting_compressor(step, values).active]


def _main_range(step: StepSpace) -> tuple[str, Range | None]:
    """Return the field that makes a step act and its range; None if it has none."""
    return next(((f, r) for f, r in step.ranges.items() if r.when is None), ("", None))


def ladder(span: Range, count: int = LEVELS) -> list[Value]:
    """Return so many values of a range, evenly spaced from end to end; all choices if they fit."""
    if span.kind == "categorical":
        places = {round(k * (len(span.choices) - 1) / (count - 1)) for k in range(count)}
        return [span.choices[place] for place in sorted(places)]
    return list(dict.fromkeys(span.interpolate(k / (count - 1)) for k in range(count)))


def anchors(space: Space) -> dict[str, Recipe]:
    """Return for each step that acts at its anchor the recipe of this step alone."""
    alone = {}
    for name, step in space.steps.items():
        compressor = acting_compressor(step, {})
        if compressor.active and compressor.kind is not CompressorKind.RECOVERS:
            only = Step(name=name, target=step.target, values=values_of(compressor))
            alone[name] = Recipe(steps=(only,), seed=0)
    return alone


def _baseline(space: Space) -> dict[str, Value]:
    """Return the parameters of the uncompressed model, those whose range holds its value."""
    inactive = {
        span.name: values_of(build_step(step.name, step.target, {}))[field]
        for step in space.steps.values()
        for field, span in step.ranges.items()
    }
    nothing = params_for(space, {})
    return {n: v for n, v in nothing.items() if n not in inactive or v == inactive[n]}


def _steps_of(space: Space, rival: Mapping[str, Mapping[str, Value]]) -> StepValues | None:
    """Return the steps and values of a rival; None if the space cannot express it."""
    acting: dict[str, Mapping[str, Value]] = {}
    for compressor, values in rival.items():
        step = next((s for s in space.steps.values() if _class(s) == compressor), None)
        if step is None or not all(_can_be(step, field, v) for field, v in values.items()):
            return None
        acting[step.name] = values
        if acting_compressor(step, {}).kind is not CompressorKind.ENCODES_WEIGHTS:
            acting |= _recovery_after(space, step.name)
    return acting


def _alone(space: Space, acting: StepValues) -> bool:
    """Whether nothing else acts, as a step does whose range does not hold the inactive value."""
    recipe = space.recipe(params_for(space, acting), seed=0)
    return {step.name for step in recipe.steps if not recovers(space, step.name)} <= set(acting)


def _can_be(step: StepSpace, field: str, value: Value) -> bool:
    if field in step.ranges:
        return value in step.ranges[field]
    return bool(getattr(acting_compressor(step, {}), field) == value)


def _of_kind(space: Space, kind: CompressorKind) -> list[str]:
    return [name for name, step in space.steps.items() if acting_compressor(step, {}).kind is kind]
