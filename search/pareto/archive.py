"""The archive of a study: its front and its hypervolume after each finished trial."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from search.pareto.front import Front, Objectives
from search.pareto.hypervolume import hypervolume
from search.trial_record import TrialRecord


@dataclass(kw_only=True)
class ParetoArchive:
    """The front and the history of the hypervolume, kept up to date trial by trial.

    Trials may come in any order. The history ends before the first trial that is missing, since
    that one would change what comes after it.
    """

    objectives: Objectives
    reference: Mapping[str, float] = field(default_factory=dict)
    """By objective, the value from which a gain counts if not the default."""
    numbers: Iterable[int] = field(default_factory=count)
    """Numbers of the trials in the order of the history."""
    history: dict[int, float] = field(default_factory=dict)
    """The hypervolume after each trial; empty unless trial 0 measured the baseline."""
    _front: Front = field(init=False)
    _settled: Front = field(init=False)
    """The front of the trials in the history."""
    _waiting: dict[int, TrialRecord] = field(default_factory=dict)
    """Trials that are not in the history yet, by number."""
    _order: Iterator[int] = field(init=False)
    _next: int | None = field(init=False)
    """Number of the next trial of the history; None at the end."""
    _baseline: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Begin with empty fronts."""
        self._front = Front(objectives=self.objectives)
        self._settled = Front(objectives=self.objectives)
        self._order = iter(self.numbers)
        self._next = next(self._order, None)

    def add(self, record: TrialRecord) -> list[TrialRecord]:
        """Add a finished trial; return those, maybe itself, that are not on the front any more.

        A trial that is added again, with further metrics, replaces itself.

        Raises:
            ValueError: The trial was measured, and an objective is missing, NaN or infinite.
        """
        dominated = self._front.add(record)
        if record.number not in self.history:
            self._waiting[record.number] = record
        while self._next in self._waiting and self._has_baseline():
            self._settle(self._waiting.pop(self._next))
            self._next = next(self._order, None)
        return dominated

    @property
    def front(self) -> list[TrialRecord]:
        """The front, the best by the first objective first."""
        return self._front.ordered()

    def _has_baseline(self) -> bool:
        """Return whether the metrics of the baseline are known; take them from trial 0."""
        first = self._waiting.get(0)
        if first is not None and (first.origin, first.status) == ("baseline", "ok"):
            self._baseline = first.metrics
        return self._baseline is not None

    def _settle(self, record: TrialRecord) -> None:
        """Extend the history by a trial."""
        volume = next(reversed(self.history.values()), 0.0)
        if self._baseline is not None and record not in self._settled.add(record):
            costs = self._settled.costs
            volume = hypervolume(costs, self.objectives, self._baseline, self.reference)
        self.history[record.number] = volume


def archive_of(
    records: Sequence[TrialRecord],
    objectives: Objectives,
    reference: Mapping[str, float] | None = None,
) -> ParetoArchive:
    """Return the archive of a batch of trials, whose history passes over trials that are missing.

    Args:
        records: Finished trials in any order.
        objectives: Direction by metric.
        reference: By objective, the value from which a gain counts if not the default.

    Raises:
        ValueError: There is no objective, an objective cannot be normalised, or a measured trial
            has an objective missing, NaN or infinite.
    """
    numbers = sorted(record.number for record in records)
    archive = ParetoArchive(objectives=objectives, reference=reference or {}, numbers=numbers)
    for record in records:
        archive.add(record)
    return archive
