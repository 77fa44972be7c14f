"""Whether a recipe damages a model far more than any that was seen to recover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.proposal.acting_steps import main_range
from search.proposal.strength.bound import ScoreBound
from search.proposal.strength.damage import Damage
from search.proposal.strength.directions import damaging_steps
from search.recipe.space import Space
from search.trial_record import TrialRecord, Value

BEYOND = 2.0
"""Factor of the greatest damage from which a trial recovered up to which others may go."""


@dataclass(frozen=True, kw_only=True)
class Bearable:
    """Judges recipes by the sum of the damages that their steps do alone."""

    space: Space
    damage: Damage
    bound: ScoreBound

    def total(self, params: Mapping[str, Value]) -> float:
        """Return the damage of the recipe of these parameters."""
        shares = {}
        for name in damaging_steps(self.space):
            _, span = main_range(self.space.steps[name])
            if span is not None and span.name in params:
                shares[name] = span.fraction_of(params[span.name])
        return self.damage.total(shares)

    def limit(self, records: Sequence[TrialRecord]) -> float:
        """Return the damage beyond which a recipe is not worth a trial yet.

        It is the least that broke the bound before any trial kept it, and infinite at first.
        """
        damaged = [(self.total(record.params), record) for record in records]
        known = [
            (total, self.bound.used(r)) for total, r in damaged if total > 0 and r.status == "ok"
        ]
        kept = [total for total, used in known if used <= 1]
        if kept:
            return BEYOND * max(kept)
        return min((total for total, _ in known), default=float("inf"))
