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
HEALED = 0.5
"""Share of the loss of score that is expected to stay after a long recovery, before one was
measured."""


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
        loses as small a share of its drop as the median of those that went on.

        Args:
            records: Finished trials, the first one that of the uncompressed model.
            open_origins: Origins of the trials under way.
        """
        begun = {*open_origins, *(record.origin for record in records)}
        left = self._kept_loss(records)
        front = pareto_front(records, self.objectives)
        expected = [
            (record, _expected(record, left, records[0]))
            for record in records
            if self._may_go_on(record, left) and f"{FINISH}:{record.number}" not in begun
        ]
        gains = {r.number: self._volume([*front, hoped], records[0]) for r, hoped in expected}
        now = self._volume(front, records[0])
        for record, _ in sorted(expected, key=lambda pair: -gains[pair[0].number]):
            if gains[record.number] > now:
                yield record

    def _may_go_on(self, record: TrialRecord, left: float) -> bool:
        """Whether a trial was trained for a short time and is expected to keep the bound."""
        return (
            record.status == "ok"
            and not record.origin.startswith(FINISH)
            and training_epochs(recipe_from_data(record.recipe)) > 0
            and self.bound.used(record) * left <= 1
        )

    def _kept_loss(self, records: Sequence[TrialRecord]) -> float:
        """Return the share of its loss that a trial keeps in a long recovery."""
        known = {record.number: record for record in records}
        kept = []
        for record in records:
            name, _, number = record.origin.partition(":")
            before = known.get(int(number)) if name == FINISH else None
            if before is not None and record.status == "ok" and self.bound.used(before) > 0:
                kept.append(min(1.0, self.bound.used(record) / self.bound.used(before)))
        return median(kept) if kept else HEALED

    def _volume(self, records: Sequence[TrialRecord], baseline: TrialRecord) -> float:
        costs = cost_matrix(records, self.objectives)
        return hypervolume(costs, self.objectives, baseline.metrics, {})


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
