"""Whether a recipe damages a model far more than any that was seen to recover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from search.proposal.acting_steps import main_range
from search.proposal.strength.bound import ScoreBound
from search.proposal.strength.damage import Damage
from search.proposal.strength.directions import damaging_steps
from search.recipe.ranges import Range
from search.recipe.space import Space
from search.trial_record import TrialRecord, Value

BEYOND = 2.0
"""Factor of the greatest damage from which a trial recovered up to which others may go."""


@dataclass(kw_only=True)
class Bearable:
    """Judges recipes by the sum of the damages that their steps do alone; each trial once."""

    space: Space
    damage: Damage
    bound: ScoreBound
    _judged: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By number of a finished trial, its damage and the share of the bound that it used."""

    @cached_property
    def _spans(self) -> dict[str, Range]:
        """The main range of each damaging step."""
        spans = {name: main_range(self.space.steps[name])[1] for name in damaging_steps(self.space)}
        return {name: span for name, span in spans.items() if span is not None}

    def total(self, params: Mapping[str, Value]) -> float:
        """Return the damage of the recipe of these parameters."""
        given = {name: span for name, span in self._spans.items() if span.name in params}
        shares = {name: span.fraction_of(params[span.name]) for name, span in given.items()}
        return self.damage.total(shares)

    def limit(self, records: Sequence[TrialRecord]) -> float:
        """Return the damage beyond which a recipe is not worth a trial yet.

        It is the least that broke the bound before any trial kept it, and infinite at first.
        """
        for record in records:
            if record.status == "ok" and record.number not in self._judged:
                judged = self.total(record.params), self.bound.used(record)
                self._judged[record.number] = judged
        known = [(total, used) for total, used in self._judged.values() if total > 0]
        kept = [total for total, used in known if used <= 1]
        if kept:
            return BEYOND * max(kept)
        return min((total for total, _ in known), default=float("inf"))
