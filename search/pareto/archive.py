"""How a study stands: its front and hypervolume, brought on with each finished trial."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.pareto.front import Objectives, cost_matrix, hypervolume
from search.trial_record import TrialRecord


@dataclass(kw_only=True)
class ParetoArchive:
    """The front and the hypervolume's history, as `pareto_front` and `hypervolume_history` say.

    Trials may come in any order. The history has the trials up to the first that is missing, since
    that one may still change what comes after it.
    """

    objectives: Objectives
    reference: Mapping[str, float] = field(default_factory=dict)
    """By objective, where a gain begins if not at the default."""
    history: dict[int, float] = field(default_factory=dict)
    """The hypervolume after each trial; empty unless trial 0 measured the baseline."""
    _front: "_Front" = field(default_factory=lambda: _Front())
    _settled: "_Front" = field(default_factory=lambda: _Front())
    """The front of the trials in the history."""
    _early: dict[int, TrialRecord] = field(default_factory=dict)
    """Trials that wait for one with a lower number."""
    _baseline: Mapping[str, float] | None = None

    def add(self, record: TrialRecord) -> list[TrialRecord]:
        """Take a finished trial; return those, maybe itself, that are not on the front any more.

        A trial that comes again, with further figures, takes its own place.

        Raises: ValueError if it was measured and lacks an objective, or has it NaN or infinite.
        """
        beaten = self._enter(self._front, record)
        if record.number not in self.history:
            self._early[record.number] = record
        while (number := len(self.history)) in self._early:
            following = self._early[number]
            if number == 0 and (following.origin, following.status) == ("baseline", "ok"):
                self._baseline = following.metrics
            if self._baseline is None:
                break
            del self._early[number]
            self._settle(following)
        return beaten

    @property
    def front(self) -> list[TrialRecord]:
        """The front, the best by the first objective first."""
        return self._front.ordered()

    def _settle(self, record: TrialRecord) -> None:
        volume = self.history.get(record.number - 1, 0.0)
        if self._baseline is not None and record not in self._enter(self._settled, record):
            members = self._settled.ordered()
            volume = hypervolume(members, self.objectives, self._baseline, self.reference)
        self.history[record.number] = volume

    def _enter(self, front: "_Front", record: TrialRecord) -> list[TrialRecord]:
        if record.status != "ok":
            return [record]
        costs = tuple(float(cost) for cost in cost_matrix([record], self.objectives)[0])
        return front.enter(record, costs) if record.feasible else [record]


@dataclass(kw_only=True)
class _Front:
    """Trials of which none is as good as another in every objective, by number with their costs."""

    members: dict[int, tuple[tuple[float, ...], TrialRecord]] = field(default_factory=dict)

    def enter(self, record: TrialRecord, costs: tuple[float, ...]) -> list[TrialRecord]:
        """Take a trial unless it is beaten; return it if it is, else the trials that it beats.

        Of trials with equal costs the one with the lowest number stays.
        """
        key = (*costs, record.number)
        beaten = []
        self.members.pop(record.number, None)
        for known, member in self.members.values():
            if (*known, member.number) <= key and _as_good(known, costs):
                return [record]
            if _as_good(costs, known):
                beaten.append(member)
        for member in beaten:
            del self.members[member.number]
        self.members[record.number] = (costs, record)
        return beaten

    def ordered(self) -> list[TrialRecord]:
        """Return the members, the best by the first objective first."""
        ranked = sorted(self.members.items(), key=lambda item: (item[1][0], item[0]))
        return [record for _, (_, record) in ranked]


def _as_good(costs: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return all(cost <= other for cost, other in zip(costs, others, strict=True))
