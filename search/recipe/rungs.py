"""Rungs: growing shares of a recipe's recovery, at each of which the weak trials are stopped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import moocore
import numpy as np
from numpy.typing import NDArray

from compressors.kinds import CompressorKind
from search.errors import ConfigError
from search.recipe.recipe import Recipe, Step
from search.trial_record import ModelEstimate

EPOCHS = "epochs"
COMPARED = {
    "score": "nll",
    "score_drop": "nll",
    "relative_drop": "nll",
    "nll": "nll",
    "size_bytes": "estimated_bytes",
    "size_ratio": "estimated_bytes",
    "run_bytes": "estimated_bytes",
    "latency_ms": "macs",
    "latency_ratio": "macs",
    "macs": "macs",
    "parameters": "parameters",
    "nonzeros": "nonzeros",
}
"""By objective the figure that stands for it before there is an artefact; the loss ranks models
that are hardly trained better than a score does. All of them are better when lower."""
FINEST = 1e-3
"""Figures are compared on a logarithmic scale, which is linear around 0 below this size."""


@dataclass(frozen=True, kw_only=True)
class Rungs:
    """How recovery is divided.

    The last rung has all of the training, each other one `factor` times less than the next. At
    each but the last a trial goes on if it is among the best `1 / factor` of the latest: the
    stopping form of asynchronous successive halving (Li et al., 2020, arXiv:1810.05934), with
    non-domination and crowding in place of one figure (Schmucker et al., 2021,
    arXiv:2106.12639).
    """

    count: int
    """1 for no rungs."""
    factor: float

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: one lies outside its range.
        """
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise ConfigError(f"rungs.count must be a whole number from 1, got {self.count!r}")
        number = isinstance(self.factor, int | float) and not isinstance(self.factor, bool)
        if not number or not self.factor > 1:
            raise ConfigError(f"rungs.factor must be above 1, got {self.factor!r}")

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of the training at each rung, up to 1."""
        return tuple(float(self.factor) ** -step for step in range(self.count - 1, -1, -1))

    def staged(self, recipe: Recipe) -> Recipe:
        """Return the recipe with each recovery before the encoding divided at the rungs.

        Each part is a training of its own with a warm start (Loshchilov & Hutter, 2017,
        arXiv:1608.03983), so that a trial which goes on does not begin again.
        """
        steps: list[Step] = []
        for step, divided in zip(recipe.steps, _divided(recipe), strict=True):
            steps += self._parts(step) if divided else [step]
        return replace(recipe, steps=tuple(steps))

    def at(self, staged: Recipe, rung: int) -> Recipe:
        """Return a staged recipe with the recovery that it has at a rung, from 0.

        Recoveries that are not divided are shortened.
        """
        share = self.shares[rung]
        return staged if share == 1 else _cut(staged, rung + 1, share)

    def _parts(self, step: Step) -> list[Step]:
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

    def passes(self, costs: Sequence[float], peers: Sequence[Sequence[float]]) -> bool:
        """Whether a trial is among the best `1 / factor` of itself and its peers at a rung.

        The first `factor` trials at a rung all pass, and all of them where nothing is compared.
        """
        if not costs or len(peers) < self.factor:
            return True
        order = ranking(np.array([*peers, costs], dtype=np.float64))
        place = int(np.flatnonzero(order == len(peers))[0])
        return place < math.ceil((len(peers) + 1) / self.factor)


def without_training(staged: Recipe) -> Recipe:
    """Return a staged recipe without its recoveries, if any of them trains."""
    cut = _cut(staged, 0, 0.0)
    if cut == staged:
        return staged
    recovers = {
        step.name for step in cut.steps if step.compressor().kind is CompressorKind.RECOVERS
    }
    return replace(cut, steps=tuple(step for step in cut.steps if step.name not in recovers))


def from_first_training(staged: Recipe) -> Recipe:
    """Return what comes from the first training on; an empty recipe if nothing is trained."""
    begins = next((n for n, step in enumerate(staged.steps) if _trains(step)), len(staged.steps))
    return replace(staged, steps=staged.steps[begins:])


def trained_until(staged: Recipe) -> int:
    """Return how many of the first steps end with the divided recovery; 0 if there is none."""
    return max((n for n, divided in enumerate(_divided(staged), 1) if divided), default=0)


def training_hash(staged: Recipe) -> str:
    """Return a hash of a recipe up to the end of its divided recoveries; empty if there is none."""
    until = trained_until(staged)
    return replace(staged, steps=staged.steps[:until]).hash if until else ""


def _cut(staged: Recipe, parts: int, share: float) -> Recipe:
    """Return a recipe with so many parts of divided recoveries, and a share of the others.

    Where training is missing, an encoding is the same for all layers: what each layer bears would
    be measured for a model that is not done.
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


def rung_costs(estimate: ModelEstimate, objectives: Sequence[str]) -> list[float]:
    """Return what stands for the objectives at a rung, each better when lower, none twice."""
    names = dict.fromkeys(COMPARED[name] for name in objectives if name in COMPARED)
    return [float(np.arcsinh(getattr(estimate, name) / FINEST)) for name in names]


def ranking(costs: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the rows `[trials, figures]`, best first: by front, within it the least crowded first.

    The crowding distance (Deb et al., 2002, doi:10.1109/4235.996017) counts a gap at the end of a
    front as the gap beside it, so that a worthless extreme is not always kept.
    """
    fronts = moocore.pareto_rank(costs)
    spread = np.ptp(costs, axis=0)
    scaled = costs / np.where(spread > 0, spread, 1.0)
    crowding = np.zeros(len(costs))
    for front in np.unique(fronts):
        rows = np.flatnonzero(fronts == front)
        crowding[rows] = sum(_gaps(scaled[rows, column]) for column in range(costs.shape[1]))
    return np.lexsort((np.arange(len(costs)), -crowding, fronts))


def _gaps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance between the neighbours of each value; at the ends twice the one gap."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order])
    gaps = np.zeros(len(values))
    if len(steps):
        gaps[order] = np.concatenate([[2 * steps[0]], steps[1:] + steps[:-1], [2 * steps[-1]]])
    return gaps


def _trains(step: Step) -> bool:
    return step.compressor().kind is CompressorKind.RECOVERS and (step.values.get(EPOCHS) or 0) > 0


def _shortens(step: Step) -> bool:
    """Whether a step trains and takes parts of epochs, as one does that can begin at any epoch."""
    return _trains(step) and "first_epoch" in step.values


def _uniform(step: Step) -> Step:
    """Return an encoding with the same value for all layers; itself where it refuses that."""
    uniform = replace(step, values={**step.values, "allocation": "uniform"})
    try:
        uniform.compressor()
    except ConfigError:
        return step
    return uniform


def _encodes(step: Step) -> bool:
    return step.compressor().kind is CompressorKind.ENCODES_WEIGHTS


def _part(step: Step) -> int:
    """Return the place of a step among the parts of its recovery, from 1."""
    number = step.name.rpartition(".")[2]
    return int(number) if number.isdigit() else 1


def _divided(recipe: Recipe) -> list[bool]:
    """Return by step whether it is a recovery that comes before any encoding."""
    divided = []
    encoded = False
    for step in recipe.steps:
        encoded = encoded or _encodes(step)
        divided.append(not encoded and _shortens(step))
    return divided
