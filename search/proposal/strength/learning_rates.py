"""The learning rate of recoveries: how far below the usual one a model needs it, by measurement.

A network that learnt all it knows from data like these recovers fastest at a high rate. What a
model learnt from other data is lost at such a rate, and no recovery brings it back. Neither can be
told from the model, so that the first trial with a recovery that does not hold is repeated at lower
rates for as long as they are better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from compressors.kinds import CompressorKind
from search.proposal.acting_steps import steps_of_kind
from search.proposal.initial_design import InitialTrial
from search.proposal.strength.bisection import LITTLE
from search.proposal.strength.bound import ScoreBound
from search.recipe.ranges import Range
from search.recipe.space import Space
from search.trial_record import TrialRecord, Value

RATE = "rate"
"""First word of the origin `rate:<trial>:<factor>`."""
LEARNING_RATE = "learning_rate"
LOWER = 8.0
"""Factor between two rates that are tried."""
TIMES = 2
"""How often the rate is lowered at most."""


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """The learning rates of the recoveries of a space."""

    space: Space
    factor: float = 1.0
    """What the usual rates are multiplied by."""
    untried: float | None = None
    """A factor that is to be tried; None if `factor` is known to be the best."""
    tried: Mapping[float, TrialRecord] = field(default_factory=dict)
    """By factor, the trials that differ in nothing else."""

    @property
    def spans(self) -> dict[str, Range]:
        """The searched range of each recovery's rate, by step."""
        found = {
            name: self.space.steps[name].ranges.get(LEARNING_RATE)
            for name in steps_of_kind(self.space, CompressorKind.RECOVERS)
        }
        return {n: span for n, span in found.items() if span and span.kind != "categorical"}

    @property
    def best(self) -> TrialRecord:
        """The trial with the best rate, of those that differ in nothing else."""
        return self.tried[self.factor]

    def at(self, name: str, strength: float) -> dict[str, Value]:
        """Return the rate of a recovery after steps of a strength; empty if it is not searched.

        The usual rate is the anchor in the middle and the highest at the end: the more is taken
        away, the more recovery resembles a training from scratch.
        """
        span = self.spans.get(name)
        if span is None:
            return {}
        anchor = float(span.default())  # type: ignore[arg-type]
        rate = anchor * (span.high / anchor) ** (2 * strength - 1) * self.factor
        return {LEARNING_RATE: min(max(rate, span.low), span.high)}

    def proposal(self) -> InitialTrial | None:
        """Return the trial that tells whether a lower rate is better; None if that is known."""
        if self.untried is None:
            return None
        first, ratio = self.tried[1.0], self.untried
        lowered = {
            span.name: max(float(first.params[span.name]) * ratio, span.low)  # type: ignore[arg-type]
            for span in self.spans.values()
            if span.name in first.params
        }
        return InitialTrial(
            origin=f"{RATE}:{first.number}:{ratio:g}", params={**first.params, **lowered}
        )

    def plausible(self, params: Mapping[str, Value]) -> bool:
        """Return whether no rate is lower than the lowest that was worth a trial."""
        return all(
            float(params[span.name]) * LOWER >= float(span.default()) * self.factor  # type: ignore[arg-type]
            for span in self.spans.values()
            if span.name in params
        )


def learning_rates(
    space: Space, bound: ScoreBound, records: Sequence[TrialRecord], first: TrialRecord | None
) -> LearningRates:
    """Return the learning rates after what was measured.

    Args:
        space: The space of recipes.
        bound: The loss of score that a study allows.
        records: Finished trials.
        first: The first trial along a path that has a recovery; None before there is one.
    """
    rates = LearningRates(space=space)
    if first is None or not rates.spans or bound.used(first) <= LITTLE:
        return rates
    name = f"{RATE}:{first.number}:"
    lower = {float(r.origin.rpartition(":")[2]): r for r in records if r.origin.startswith(name)}
    tried = {1.0: first, **lower}
    factor = 1.0
    for _ in range(TIMES):
        below = factor / LOWER
        if below not in tried:
            return LearningRates(space=space, factor=factor, untried=below, tried=tried)
        if bound.used(tried[below]) >= bound.used(tried[factor]):
            break
        factor = below
    return LearningRates(space=space, factor=factor, tried=tried)
