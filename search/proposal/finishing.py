"""The end of a study: the most promising trials go on with a long recovery."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from search.pareto.front import cost_matrix, pareto_front
from search.pareto.hypervolume import hypervolume
from search.proposal.costs import training_epochs
from search.proposal.strength.bound import ScoreBound
from search.recipe.recipe import recipe_from_data
from search.trial_record import TrialRecord

FINISH = "finish"
"""First word of the origin `finish:<trial>`."""
LEAST_CHANCE = 1 / 8
"""Chance of keeping the bound below which a trial is not worth a long recovery."""


@dataclass(frozen=True, kw_only=True)
class Finishing:
    """What is known when the end of a study begins."""

    bound: ScoreBound
    objectives: Mapping[str, str]

    def candidates(
        self, records: Sequence[TrialRecord], open_origins: Sequence[str]
    ) -> Iterator[TrialRecord]:
        """Yield trained trials that have not gone on yet, those of the largest expected gain first.

        The gain is that of the front's hypervolume if the trial keeps its size and its speed and
        so much of its loss that it keeps the bound, times the chance that it does. What a long
        recovery leaves of a loss may be any share of it before one was measured, with equal chance
        (Laplace's principle); each that was measured counts as much as this first guess.

        Args:
            records: Finished trials, the first one that of the uncompressed model.
            open_origins: Origins of the trials under way.
        """
        begun = {*open_origins, *(record.origin for record in records)}
        kept = self._kept_losses(records)
        front = pareto_front(records, self.objectives)
        now = self._volume(front, records[0])
        gains: list[tuple[float, TrialRecord]] = []
        for record in records:
            if not _was_trained(record) or f"{FINISH}:{record.number}" in begun:
                continue
            chance, left = _healing(self.bound.used(record), kept)
            if chance >= LEAST_CHANCE:
                hoped = _expected(record, left, records[0])
                gains.append((chance * (self._volume([*front, hoped], records[0]) - now), record))
        for gain, record in sorted(gains, key=lambda pair: -pair[0]):
            if gain > 0:
                yield record

    def _kept_losses(self, records: Sequence[TrialRecord]) -> list[float]:
        """Return the share of its loss that each trial kept in a long recovery."""
        known = {record.number: record for record in records}
        kept = []
        for record in records:
            name, _, number = record.origin.partition(":")
            before = known.get(int(number)) if name == FINISH else None
            if before is not None and record.status == "ok" and self.bound.used(before) > 0:
                kept.append(min(1.0, self.bound.used(record) / self.bound.used(before)))
        return kept

    def _volume(self, records: Sequence[TrialRecord], baseline: TrialRecord) -> float:
        costs = cost_matrix(records, self.objectives)
        return hypervolume(costs, self.objectives, baseline.metrics, {})


def _was_trained(record: TrialRecord) -> bool:
    """Whether a trial was trained, and not yet in a long recovery."""
    return (
        record.status == "ok"
        and not record.origin.startswith(FINISH)
        and training_epochs(recipe_from_data(record.recipe)) > 0
    )


def _healing(used: float, kept: Sequence[float]) -> tuple[float, float]:
    """Return the chance that a trial keeps the bound, and the share of its loss left if it does.

    Args:
        used: The share of the bound that it uses.
        kept: The shares of their losses that other trials kept.
    """
    most = min(1.0, 1 / used) if used > 0 else 1.0
    enough = [share for share in kept if share <= most]
    return (most + len(enough)) / (1 + len(kept)), median([most / 2, *enough])


def _expected(record: TrialRecord, left: float, baseline: TrialRecord) -> TrialRecord:
    """Return a trial as it may be after a long recovery, which leaves a share of its loss."""
    drop, base = record.metrics["score_drop"], baseline.metrics["score"]
    if drop <= 0:
        return record
    metrics = {
        **record.metrics,
        "score": base + (record.metrics["score"] - base) * left,
        "score_drop": drop * left,
        "relative_drop": record.metrics["relative_drop"] * left,
    }
    return replace(record, metrics=metrics, violations={})
