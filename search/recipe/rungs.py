"""Rungs: growing shares of the recovery of a recipe, after each of which weak trials stop."""

import math
from dataclasses import dataclass, replace

from compressors.kinds import CompressorKind
from search.errors import ConfigError
from search.recipe.recipe import Recipe, Step

EPOCHS = "epochs"
MAX_COUNT = 16
"""Largest number of rungs; each but the last has a training of its own."""
MAX_FACTOR = 1000


@dataclass(frozen=True, kw_only=True)
class Rungs:
    """The division of recovery into rungs.

    The last rung has all of the training, each other one `factor` times less than the next. At
    each but the last a trial goes on if it is among the best `1 / factor` of the latest.

    Raises:
        ConfigError: A number lies outside its range.
    """

    count: int
    """Number of rungs; 1 for undivided training."""
    factor: float
    """Ratio of the training between neighbouring rungs, above 1."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        whole = isinstance(self.count, int) and not isinstance(self.count, bool)
        if not whole or not 1 <= self.count <= MAX_COUNT:
            raise ConfigError(
                f"rungs.count must be a whole number in [1, {MAX_COUNT}], got {self.count!r}; "
                "1 trains every trial in full"
            )
        number = isinstance(self.factor, int | float) and not isinstance(self.factor, bool)
        if not number or not 1 < self.factor <= MAX_FACTOR:
            raise ConfigError(f"rungs.factor must be in (1, {MAX_FACTOR}], got {self.factor!r}")

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of the training at each rung, ascending to 1."""
        return tuple(float(self.factor) ** -step for step in range(self.count - 1, -1, -1))

    def staged(self, recipe: Recipe) -> Recipe:
        """Return the recipe with each recovery before the encoding divided at the rungs.

        Each part is a separate training with a warm start (Loshchilov & Hutter, 2017,
        arXiv:1608.03983), so that a trial goes on from the previous rung.
        """
        steps: list[Step] = []
        for step, divided in zip(recipe.steps, _divided(recipe), strict=True):
            steps += self._parts(step) if divided else [step]
        return replace(recipe, steps=tuple(steps))

    def at(self, staged: Recipe, rung: int) -> Recipe:
        """Return a staged recipe with the recovery that it has at a rung.

        Recoveries that are not divided are shortened.

        Args:
            staged: A recipe as `staged` returns it.
            rung: Index of the rung, from 0.
        """
        share = self.shares[rung]
        return staged if share == 1 else _cut(staged, rung + 1, share)

    def _parts(self, step: Step) -> list[Step]:
        """Return a recovery as one part for each rung."""
        parts: list[Step] = []
        end, first_epoch = 0.0, 0
        for share in self.shares:
            epochs = round(step.values[EPOCHS] * share - end, 4)
            end += epochs
            values = {**step.values, EPOCHS: epochs, "first_epoch": first_epoch}
            name = f"{step.name}.{len(parts) + 1}" if parts else step.name
            parts.append(replace(step, name=name, values=values))
            first_epoch += math.ceil(epochs)
        return parts


def without_training(staged: Recipe) -> Recipe:
    """Return a staged recipe without its recoveries if any of them trains, else unchanged."""
    cut = _cut(staged, 0, 0.0)
    if cut == staged:
        return staged
    recovers = {
        step.name for step in cut.steps if step.compressor().kind is CompressorKind.RECOVERS
    }
    return replace(cut, steps=tuple(step for step in cut.steps if step.name not in recovers))


def from_first_training(staged: Recipe) -> Recipe:
    """Return the steps from the first training on; an empty recipe without any training."""
    begins = next((n for n, step in enumerate(staged.steps) if _trains(step)), len(staged.steps))
    return replace(staged, steps=staged.steps[begins:])


def trained_until(staged: Recipe) -> int:
    """Return the number of steps up to the end of the divided recovery; 0 without one."""
    return max((n for n, divided in enumerate(_divided(staged), 1) if divided), default=0)


def training_hash(staged: Recipe) -> str:
    """Return a hash of a recipe up to the end of its divided recovery; empty without one."""
    until = trained_until(staged)
    return replace(staged, steps=staged.steps[:until]).hash if until else ""


def _cut(staged: Recipe, parts: int, share: float) -> Recipe:
    """Return a recipe with the first parts of divided recoveries and a share of the other ones.

    A recipe without its full training has a uniform encoding, since sensitivities would be measured
    on an unfinished model.
    """
    if not any(_trains(step) for step in staged.steps):
        return staged
    steps = []
    for step, divided in zip(staged.steps, _divided(staged), strict=True):
        kept = step
        if _encodes(step) and step.values.get("allocation") == "sensitivity":
            kept = _uniform(step)
        elif _shortens(step) and not (divided and _part(step) <= parts):
            if divided and _part(step) > 1:
                continue
            epochs = 0 if divided else round(step.values[EPOCHS] * share, 4)
            kept = replace(step, values={**step.values, EPOCHS: epochs})
        steps.append(kept)
    return replace(staged, steps=tuple(step for step in steps if step.compressor().active))


def _trains(step: Step) -> bool:
    return step.compressor().kind is CompressorKind.RECOVERS and (step.values.get(EPOCHS) or 0) > 0


def _shortens(step: Step) -> bool:
    """Return whether a step trains and can begin at any epoch, so that it can be divided."""
    return _trains(step) and "first_epoch" in step.values


def _uniform(step: Step) -> Step:
    """Return an encoding with one value for all layers; unchanged if it does not accept that."""
    uniform = replace(step, values={**step.values, "allocation": "uniform"})
    try:
        uniform.compressor()
    except ConfigError:
        return step
    return uniform


def _encodes(step: Step) -> bool:
    return step.compressor().kind is CompressorKind.ENCODES_WEIGHTS


def _part(step: Step) -> int:
    """Return the position of a step among the parts of its recovery, from 1."""
    number = step.name.rpartition(".")[2]
    return int(number) if number.isdigit() else 1


def _divided(recipe: Recipe) -> list[bool]:
    """Return for each step whether it is a recovery before any encoding."""
    divided = []
    encoded = False
    for step in recipe.steps:
        encoded = encoded or _encodes(step)
        divided.append(not encoded and _shortens(step))
    return divided
