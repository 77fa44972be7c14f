"""The sets of steps that go from mild to strong together."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from compressors.kinds import CompressorKind
from search.proposal.acting_steps import compressor_name, main_range, steps_of_kind
from search.proposal.strength.damage import Damage
from search.recipe.ranges import Range
from search.recipe.recipe import Recipe, Step, values_of
from search.recipe.space import Space, StepSpace
from search.recipe.step_values import StepValues, acting_compressor
from search.trial_record import Value

DAMAGING = (CompressorKind.REMOVES_STRUCTURE, CompressorKind.MASKS_WEIGHTS)
PROBED_SHARES = {CompressorKind.REMOVES_STRUCTURE: (0.5,), CompressorKind.MASKS_WEIGHTS: (0.5, 0.9)}
"""By kind of step, the shares of its main range at which it is probed. A probe takes several passes
over the calibration data; what a curve balances roughly is measured along the path. Masks cost
little time and do nearly no damage up to the middle and most of it at the end of their range."""
COARSE = 0.15
"""Share of a range beyond which its smallest step is probed too: it may do most of the damage."""
ROUNDING = 1e-9
SENSITIVE = {"LowRank": "sensitivity", "Quantization": "sensitivity"}
"""By compressor, the allocation to layers that costs no training and is tried where it may be."""


@dataclass(frozen=True, kw_only=True)
class Direction:
    """Steps that act together, at one strength in [0, 1]."""

    steps: tuple[str, ...]
    encodes: bool = False
    """Whether the only step is an encoding, which acts without training."""

    @property
    def name(self) -> str:
        """The name of the direction in origins."""
        return "+".join(self.steps)

    def acting(self, space: Space, damage: Damage, strength: float) -> StepValues:
        """Return the values of the steps that act at a strength; a step may stay inactive."""
        shares = damage.shares(self.steps, strength)
        values = {name: _values(space.steps[name], share) for name, share in shares.items()}
        return {
            name: given
            for name, given in values.items()
            if acting_compressor(space.steps[name], given).active
        }


def directions(space: Space) -> list[Direction]:
    """Return the directions of a space, the cheapest first.

    They are the bit-widths of weights alone, then the steps that make layers smaller or fewer,
    these with masks, and these with factors; steps whose strength is fixed are in none of them.
    """
    structure: list[str] = []
    masks: list[str] = []
    factors: list[str] = []
    for name in damaging_steps(space):
        step = space.steps[name]
        if acting_compressor(step, {}).kind is CompressorKind.MASKS_WEIGHTS:
            masks.append(name)
        else:
            (factors if compressor_name(step) == "LowRank" else structure).append(name)
    groups = [tuple(group) for group in (structure, masks, factors) if group]
    joint = [Direction(steps=_ordered(space, steps)) for steps in accumulate(groups)]
    return [*_bit_widths(space), *joint]


def damaging_steps(space: Space) -> list[str]:
    """Return the steps that take something away, by a number that is searched, in order."""
    found = {name for kind in DAMAGING for name in steps_of_kind(space, kind)}
    return [name for name, step in space.steps.items() if name in found and _is_numeric(step)]


def probes(space: Space) -> dict[str, list[tuple[float, Recipe]]]:
    """Return by step the shares at which its damage is to be measured, each with its recipe.

    Each recipe has one step; shares at which it has the same values as before are left out.
    """
    return {name: _probes_of(space.steps[name]) for name in damaging_steps(space)}


def _probes_of(step: StepSpace) -> list[tuple[float, Recipe]]:
    field, span = main_range(step)
    assert span is not None
    shares = PROBED_SHARES[acting_compressor(step, {}).kind]
    smallest = (span.step or 0.0) / (span.high - span.low)
    if smallest > COARSE:
        shares = (smallest, *shares)
    recipes: dict[str, tuple[float, Recipe]] = {}
    for share in shares:
        given = _strength(step, share)
        compressor = acting_compressor(step, given)
        alone = Step(name=step.name, target=step.target, values=values_of(compressor))
        recipe = Recipe(steps=(alone,), seed=0)
        if compressor.active:
            recipes.setdefault(recipe.hash, (span.fraction_of(given[field]), recipe))
    return list(recipes.values())


def _bit_widths(space: Space) -> list[Direction]:
    return [
        Direction(steps=(name,), encodes=True)
        for name in steps_of_kind(space, CompressorKind.ENCODES_WEIGHTS)
        if compressor_name(space.steps[name]) == "Quantization"
        and main_range(space.steps[name])[1] is not None
    ]


def _values(step: StepSpace, share: float) -> Mapping[str, Value]:
    wish = SENSITIVE.get(compressor_name(step))
    return _strength(step, share) | ({"allocation": wish} if wish else {})


def _strength(step: StepSpace, share: float) -> dict[str, Value]:
    """Return the value of a step's main field at a share of its range."""
    field, span = main_range(step)
    assert span is not None
    return {field: _value(span, share)}


def _value(span: Range, share: float) -> Value:
    """Return the value at a share of a range, or the next milder one.

    Choices are taken to go from mild to strong.
    """
    if span.kind == "categorical":
        return span.choices[round(share * (len(span.choices) - 1))]
    value = span.interpolate(share)
    reached = span.fraction_of(value)
    if span.step is None or reached <= share + ROUNDING:
        return value
    return span.interpolate(reached - span.step / (span.high - span.low))


def _is_numeric(step: StepSpace) -> bool:
    span = main_range(step)[1]
    return span is not None and span.kind != "categorical" and span.low < span.high


def _ordered(space: Space, steps: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in space.steps if name in steps)
