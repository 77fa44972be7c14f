"""The ways to write a model down at the end of a recipe: fast, and small."""

from collections.abc import Mapping, Sequence

from compressors.kinds import CompressorKind
from search.proposal.acting_steps import compressor_name, main_range, steps_of_kind
from search.recipe.space import Space, StepSpace
from search.recipe.step_values import StepValues, params_for
from search.trial_record import TrialRecord, Value

ENCODING_SHARE = 1 / 4
"""Share of its range at which an encoding with many levels stands."""
FEW_BITS = 4
CLEARLY = 0.95
"""Share of the baseline's latency below which integers count as faster, so that noise decides
nothing."""
INT8_ORIGIN = "rival:int8"


def encodings(
    space: Space, objectives: Mapping[str, str], records: Sequence[TrialRecord]
) -> list[StepValues]:
    """Return the encodings of a space, each with the recovery after it, the one to try first first.

    Integers of eight bits come first where latency counts and the file of the baseline in eight
    bits was measured to be faster than that in floats; where it was slower, they are left out.

    Args:
        space: The space of recipes.
        objectives: Direction by metric.
        records: Finished trials.
    """
    small = [_small(space, name) for name in steps_of_kind(space, CompressorKind.ENCODES_WEIGHTS)]
    fast = _int8(space) if _int8_is_faster(objectives, records) else []
    return [*fast, *small] or [{}]


def by_success(
    space: Space, codes: Sequence[StepValues], front: Sequence[TrialRecord]
) -> list[StepValues]:
    """Return encodings in the order of how many of the front's recipes are written in them."""
    return sorted(codes, key=lambda code: -sum(_is_in(space, r.params, code) for r in front))


def latency_counts(objectives: Mapping[str, str]) -> bool:
    """Return whether a latency is among the objectives, direction by metric."""
    return any(name.startswith("latency") for name in objectives)


def re_encoded(space: Space, params: Mapping[str, Value], code: StepValues) -> dict[str, Value]:
    """Return parameters with another encoding at the end, and the recovery after it.

    Args:
        space: The space of recipes.
        params: The parameters of a recipe.
        code: The encoding, as `encodings` returns it.
    """
    kept = before_encoding(space)
    fresh = {n: v for n, v in params_for(space, code).items() if n.partition(".")[0] not in kept}
    return {n: v for n, v in params.items() if n.partition(".")[0] in kept} | fresh


def _is_in(space: Space, params: Mapping[str, Value], code: StepValues) -> bool:
    """Return whether the recipe of these parameters is written in an encoding."""
    return re_encoded(space, params, code) == dict(params)


def before_encoding(space: Space) -> set[str]:
    """Return the steps before the first encoding."""
    order = list(space.steps)
    codes = steps_of_kind(space, CompressorKind.ENCODES_WEIGHTS)
    return set(order[: min((order.index(name) for name in codes), default=len(order))])


def _small(space: Space, name: str) -> StepValues:
    """Return an encoding of few levels and the recoveries after it."""
    order = list(space.steps)
    later = order[order.index(name) + 1 :]
    tuned = [n for n in steps_of_kind(space, CompressorKind.RECOVERS) if n in later]
    return {name: _few_levels(space.steps[name]), **{n: {} for n in tuned}}


def _few_levels(step: StepSpace) -> Mapping[str, Value]:
    field, span = main_range(step)
    if span is None:
        return {}
    if span.kind != "categorical":
        return {field: span.interpolate(ENCODING_SHARE)}
    return {field: FEW_BITS} if FEW_BITS in span else {}


def _int8(space: Space) -> list[StepValues]:
    for name in steps_of_kind(space, CompressorKind.ENCODES_WEIGHTS):
        step = space.steps[name]
        field, span = main_range(step)
        if compressor_name(step) == "Quantization" and span is not None and 8 in span:
            return [{name: {field: 8}}]
    return []


def _int8_is_faster(objectives: Mapping[str, str], records: Sequence[TrialRecord]) -> bool:
    if not latency_counts(objectives):
        return False
    known = {r.origin: r.metrics["latency_ratio"] for r in records if r.status == "ok"}
    floats, integers = known.get("baseline"), known.get(INT8_ORIGIN)
    return floats is not None and integers is not None and integers < CLEARLY * floats
