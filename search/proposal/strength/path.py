"""Recipes from mild to strong: how strong a recipe may be is found by measurement.

Along a direction, a set of steps that act together, each step goes as far as the damage that it
does alone allows, and trials bisect towards the bound on the score. The strongest recipe that
keeps the bound is then written with the other encodings too, for which its training is known.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from compressors.kinds import CompressorKind
from search.proposal.acting_steps import steps_of_kind
from search.proposal.finishing import FINISH
from search.proposal.initial_design import InitialTrial
from search.proposal.strength.bisection import next_strength
from search.proposal.strength.bound import ScoreBound
from search.proposal.strength.damage import Damage
from search.proposal.strength.directions import Direction, directions
from search.proposal.strength.encodings import encodings, latency_counts, re_encoded
from search.recipe.space import Space
from search.recipe.step_values import StepValues, params_for
from search.trial_record import TrialRecord, Value

PATH, ENCODING = "path", "encoding"
"""First words of the origins `path:<direction>:<strength>` and `encoding:<trial>`."""
MIDDLE = 0.5
"""First strength of an encoding alone."""

ALIGNMENT = 8
"""Multiple of channels for which kernels are fast, where latency counts and the space allows it."""
FAIR_TRIES = 2
"""Trials after which a direction ends if none of them is on the front."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """The directions of a space, and what was measured along them."""

    space: Space
    damage: Damage
    bound: ScoreBound
    objectives: Mapping[str, str]

    def proposals(
        self,
        records: Sequence[TrialRecord],
        open_origins: Sequence[str],
        front: Collection[int],
    ) -> Iterator[InitialTrial]:
        """Yield what could be tried next, the best first; nothing at the end of all directions.

        A direction with a trial under way waits for it. Each begins as strong as was allowed along
        the one before it, and ends early if its first trials are not on the front. Where a recipe
        is too mild for multiples of `ALIGNMENT` channels, it is tried again with all channels, or
        with any number of them if no other step is left.

        Args:
            records: Finished trials.
            open_origins: Origins of the trials under way.
            front: Numbers of the front's members.
        """
        codes = encodings(self.space, self.objectives, records)
        start: float | None = None
        for direction in directions(self.space):
            name = f"{PATH}:{direction.name}:"
            if any(origin.startswith(name) for origin in open_origins):
                continue
            asked = [r for r in records if r.origin.startswith(name)]
            tried = {_strength(r): r for r in asked if r.status != "infeasible"}
            too_mild = {r.origin for r in asked if r.status == "infeasible"}
            used = [(strength, self.bound.used(record)) for strength, record in tried.items()]
            strength = next_strength(used, self._start(direction, start))
            if len(tried) >= FAIR_TRIES and not any(r.number in front for r in tried.values()):
                strength = None
            if strength is not None and direction.acting(self.space, self.damage, strength):
                origin = f"{name}{strength:.4f}"
                aligned = self._latency_counts and origin not in too_mild
                yield self._trial(origin, direction, strength, codes[0], aligned)
            if direction.encodes:
                continue
            kept = [strength for strength, share in used if share <= 1]
            if used:
                start = max(kept) if kept else min(used)[0] / 2
            if strength is None and kept:
                yield from self._encoded(tried[max(kept)], codes[1:])

    @property
    def _latency_counts(self) -> bool:
        return latency_counts(self.objectives)

    def _encoded(self, record: TrialRecord, codes: Sequence[StepValues]) -> Iterator[InitialTrial]:
        """Yield the recipe of a trial with other encodings."""
        for code in codes:
            params = re_encoded(self.space, record.params, code)
            yield InitialTrial(origin=f"{ENCODING}:{record.number}", params=params)

    def finished_encodings(self, records: Sequence[TrialRecord]) -> Iterator[InitialTrial]:
        """Yield the trials with a long recovery that keep the bound, written in other encodings."""
        codes = encodings(self.space, self.objectives, records)
        for record in records:
            if record.origin.startswith(f"{FINISH}:") and self.bound.used(record) <= 1:
                yield from self._encoded(record, codes)

    def _start(self, direction: Direction, allowed: float | None) -> float:
        """Return the first strength: what was allowed before, or the middle of the damage."""
        if direction.encodes:
            return MIDDLE
        return self.damage.middle(direction.steps) if allowed is None else allowed

    def _trial(
        self,
        origin: str,
        direction: Direction,
        strength: float,
        code: StepValues,
        aligned: bool,
    ) -> InitialTrial:
        acting = direction.acting(self.space, self.damage, strength)
        if self._latency_counts and not aligned:
            acting = self._without_channels(acting) or acting
        elif aligned:
            acting = {name: {**values, "round_to": ALIGNMENT} for name, values in acting.items()}
        if not direction.encodes:
            acting = {**acting, **self._recovery(strength), **code}
        return InitialTrial(origin=origin, params=params_for(self.space, acting))

    def _without_channels(self, acting: StepValues) -> StepValues:
        return {n: v for n, v in acting.items() if "round_to" not in self.space.steps[n].ranges}

    def _recovery(self, strength: float) -> StepValues:
        """Return the first recovery with a learning rate that grows with the strength.

        The more is taken away, the more recovery resembles a training from scratch.
        """
        names = steps_of_kind(self.space, CompressorKind.RECOVERS)[:1]
        return {name: self._learning_rate(name, strength) for name in names}

    def _learning_rate(self, name: str, strength: float) -> Mapping[str, Value]:
        span = self.space.steps[name].ranges.get("learning_rate")
        if span is None or span.kind == "categorical":
            return {}
        return {"learning_rate": span.interpolate(strength)}


def _strength(record: TrialRecord) -> float:
    return float(record.origin.rpartition(":")[2])
