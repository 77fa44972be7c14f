"""Recipes from mild to strong: how strong a recipe may be is found by measurement.

Along a direction, a set of steps that act together, each step goes as far as the damage that it
does alone allows, and trials bisect towards the bound on the score. The strongest recipe that
keeps the bound is then written with the other encodings too, for which its training is known.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from compressors.kinds import CompressorKind
from search.proposal.acting_steps import steps_of_kind
from search.proposal.finishing import FINISH
from search.proposal.initial_design import InitialTrial
from search.proposal.strength.bearable import BEYOND
from search.proposal.strength.bisection import AIM, Tried, next_strength
from search.proposal.strength.bound import ScoreBound
from search.proposal.strength.damage import Damage
from search.proposal.strength.directions import Direction, directions
from search.proposal.strength.encodings import by_success, encodings, latency_counts, re_encoded
from search.proposal.strength.learning_rates import RATE, LearningRates, learning_rates
from search.recipe.space import Space
from search.recipe.step_values import StepValues, params_for
from search.trial_record import TrialRecord

PATH, ENCODING = "path", "encoding"
"""First words of the origins `path:<direction>:<strength>` and `encoding:<trial>`."""
MIDDLE = 0.5
"""First strength of an encoding alone."""

ALIGNMENT = 8
"""Multiple of channels for which kernels are fast, where latency counts and the space allows it."""
FORMS = 2
"""With that multiple and without it."""
FAR_BELOW = 4.0
"""Factor of a damage that broke the bound by far down to which the next direction begins."""
FAIR_TRIES = 3
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

        A direction with a trial under way waits for it. Each begins with the damage that the one
        before it allows, for which it waits, and ends early if its first trials are not on the
        front, or if it comes to what it tried before. Where a recipe
        is too mild for multiples of `ALIGNMENT` channels, it is tried again with all channels, or
        with any number of them if no other step is left.

        Args:
            records: Finished trials.
            open_origins: Origins of the trials under way.
            front: Numbers of the front's members.
        """
        rates = self.rates(records)
        lower = rates.proposal()
        if lower is not None and lower.origin not in open_origins:
            yield lower
        best = [record for record in records if record.number in front]
        codes = by_success(self.space, self._codes(records, rates), best)
        allowed: float | None = None
        for direction in directions(self.space):
            name = f"{PATH}:{direction.name}:"
            asked = [r for r in records if r.origin.startswith(name)]
            tried = {_strength(r): r for r in asked if r.status != "infeasible"}
            tried |= {_strength(r): rates.best for r in rates.tried.values() if r in asked}
            too_mild = Counter(r.origin for r in asked if r.status == "infeasible")
            used = [(strength, self.bound.used(record)) for strength, record in tried.items()]
            start = self._start(direction, allowed)
            if used and not direction.encodes:
                allowed = self._allowed(direction, used)
            if any(origin.startswith(name) for origin in open_origins):
                if allowed is None and not direction.encodes:
                    return
                continue
            strength = self._next(direction, used, start)
            if len(tried) >= FAIR_TRIES and not any(r.number in front for r in tried.values()):
                strength = None
            if strength is not None:
                origin = f"{name}{strength:.4f}"
                aligned = self._latency_counts and origin not in too_mild
                if too_mild[origin] < FORMS:
                    acting = self._aligned(direction, strength, aligned)
                    if not direction.encodes:
                        acting = {**acting, **self._recovery(rates, strength), **codes[0]}
                    yield InitialTrial(origin=origin, params=params_for(self.space, acting))
            if direction.encodes:
                continue
            kept = [strength for strength, share in used if share <= 1]
            if strength is None and kept and tried[max(kept)].number in front:
                yield from self._encoded(tried[max(kept)], codes)

    @property
    def _latency_counts(self) -> bool:
        return latency_counts(self.objectives)

    def _encoded(self, record: TrialRecord, codes: Sequence[StepValues]) -> Iterator[InitialTrial]:
        """Yield the recipe of a trial with other encodings."""
        for code in codes:
            params = re_encoded(self.space, record.params, code)
            if params != record.params:
                yield InitialTrial(origin=f"{ENCODING}:{record.number}", params=params)

    def finished_encodings(self, records: Sequence[TrialRecord]) -> Iterator[InitialTrial]:
        """Yield the trials with a long recovery that keep the bound, written in other encodings."""
        codes = self._codes(records, self.rates(records))
        for record in records:
            if record.origin.startswith(f"{FINISH}:") and self.bound.used(record) <= 1:
                yield from self._encoded(record, codes)

    def _start(self, direction: Direction, allowed: float | None) -> float:
        """Return the first strength: that of the damage allowed before, or the middle one."""
        if direction.encodes:
            return MIDDLE
        if not allowed:
            return self.damage.middle(direction.steps)
        return self.damage.strength_of(direction.steps, allowed)

    def _allowed(self, direction: Direction, used: Tried) -> float:
        """Return the damage at which the bound is expected to be nearly used up.

        It is proportional to the share that the strongest of the trials that keep the bound uses,
        or the weakest of those that break it, as far as that is not too far away.
        """
        strength, share = max((one for one in used if one[1] <= 1), default=min(used))
        total = self.damage.total(self.damage.shares(direction.steps, strength))
        return total * min(max(AIM / max(share, AIM / BEYOND), 1 / FAR_BELOW), BEYOND)

    def _next(self, direction: Direction, used: Tried, start: float) -> float | None:
        """Return the strength to try next, at which the recipe differs from those tried before."""
        measured = [(self._acting(direction, before), share) for before, share in used]
        tried = list(used)
        while (strength := next_strength(tried, start)) is not None:
            acting = self._acting(direction, strength)
            same = [share for before, share in measured if before == acting]
            if not same:
                return strength if acting else None
            tried.append((strength, same[0]))
        return None

    def _acting(self, direction: Direction, strength: float) -> StepValues:
        return direction.acting(self.space, self.damage, strength)

    def _aligned(self, direction: Direction, strength: float, aligned: bool) -> StepValues:
        """Return the acting steps with multiples of `ALIGNMENT` channels, or without channels."""
        acting = self._acting(direction, strength)
        if aligned:
            return {name: {**values, "round_to": ALIGNMENT} for name, values in acting.items()}
        if self._latency_counts:
            return self._without_channels(acting) or acting
        return acting

    def _without_channels(self, acting: StepValues) -> StepValues:
        return {n: v for n, v in acting.items() if "round_to" not in self.space.steps[n].ranges}

    def _recovery(self, rates: LearningRates, strength: float) -> StepValues:
        """Return the first recovery, with its learning rate."""
        names = steps_of_kind(self.space, CompressorKind.RECOVERS)[:1]
        return {name: rates.at(name, strength) for name in names}

    def _codes(self, records: Sequence[TrialRecord], rates: LearningRates) -> list[StepValues]:
        """Return the encodings with the learning rates of the recoveries after them."""
        codes = encodings(self.space, self.objectives, records)
        return [
            {name: {**rates.at(name, MIDDLE), **values} for name, values in code.items()}
            for code in codes
        ]

    def rates(self, records: Sequence[TrialRecord]) -> LearningRates:
        """Return the learning rates after what was measured."""
        names = [f"{PATH}:{one.name}:" for one in directions(self.space) if not one.encodes]
        asked = [
            r for r in records if r.origin.startswith(tuple(names)) and r.status != "infeasible"
        ]
        rated = [r.origin.split(":")[1] for r in records if r.origin.startswith(f"{RATE}:")]
        chosen = [r for r in asked if str(r.number) in rated] or asked
        return learning_rates(self.space, self.bound, records, next(iter(chosen), None))


def _strength(record: TrialRecord) -> float:
    return float(record.origin.rpartition(":")[2])
