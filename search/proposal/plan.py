"""How a study divides its time: recoveries are short while it explores, and long at its end."""

from dataclasses import dataclass, replace

from compressors.kinds import CompressorKind
from search.proposal.costs import Costs
from search.recipe.recipe import Recipe, Step
from search.recipe.rungs import EPOCHS, Rungs

EXPLORING = 0.5
"""Share of the time for exploring, where recoveries must be shortened for it."""
EXPLORED = 24
"""Trials with training that shall fit into that time: a few for each direction, and variations."""
SHORTEST = 1 / 16
"""Least share of a full recovery that still tells good recipes from bad ones."""
FINISHED = 2
"""Long recoveries that shall fit into the rest of the time, one after another."""
WHOLE = 0.5
"""Share of a full recovery from which on exploring does it in full."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The lengths of recoveries, as shares of those that recipes ask for."""

    short: float = 1.0
    """In exploring."""
    long: float = 1.0
    """At the end; equal to `short` if nothing is left for the end."""
    finishing_seconds: float = 0.0
    """How long before the deadline the end begins."""

    @property
    def finishes(self) -> bool:
        """Whether good trials get a longer recovery at the end."""
        return self.short < self.long

    def exploring(self, recipe: Recipe, rungs: Rungs) -> Recipe:
        """Return a recipe as it is run while the study explores, its recovery in rungs."""
        if not self.finishes:
            return rungs.staged(_with_recoveries(recipe, self.short))
        return self._rungs.at(self.finishing(recipe), 0)

    def finishing(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the long recovery, which goes on from the short one."""
        return self._rungs.staged(_with_recoveries(recipe, self.long))

    @property
    def _rungs(self) -> Rungs:
        return Rungs(count=2, factor=self.long / self.short)


def plan_time(costs: Costs | None, epochs: float, seconds: float, slots: int) -> Plan:
    """Return the plan for a study.

    Args:
        costs: None if the study trains nothing.
        epochs: The longest recovery of a recipe.
        seconds: The time that the study has; infinite for as long as its trials take.
        slots: Trials that run at once.
    """
    if costs is None or seconds == float("inf") or not epochs:
        return Plan()
    full, each = costs.epoch * epochs, seconds * slots * EXPLORING / EXPLORED
    short = max(SHORTEST, (each - costs.file) / full)
    if short >= WHOLE:
        return Plan()
    rest = seconds * (1 - EXPLORING)
    long = min(1.0, (rest / FINISHED - costs.file) / full)
    if long <= 2 * short:
        return Plan(short=min(short, 1.0), long=min(short, 1.0))
    return Plan(short=short, long=long, finishing_seconds=rest)


def _with_recoveries(recipe: Recipe, share: float) -> Recipe:
    if share == 1:
        return recipe
    return replace(recipe, steps=tuple(_shortened(step, share) for step in recipe.steps))


def _shortened(step: Step, share: float) -> Step:
    epochs = step.values.get(EPOCHS)
    if step.compressor().kind is not CompressorKind.RECOVERS or not epochs:
        return step
    return replace(step, values={**step.values, EPOCHS: round(epochs * share, 4)})
