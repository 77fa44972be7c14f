"""No tracker at all."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.tracking.base import StudyDescription
from search.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class NoTracker:
    """No tracker: a study has only its own files. It is its own mirror."""

    note: str = ""

    def check(self) -> None:
        """Do nothing."""

    def open(self, study: StudyDescription) -> "NoTracker":
        """Return itself."""
        return self

    def write_trials(self, records: Sequence[TrialRecord]) -> None:
        """Do nothing."""

    def write_front(self, front: Collection[int], hypervolume: Mapping[int, float]) -> None:
        """Do nothing."""

    def finish(self, files: Sequence[Path], *, status: str = "FINISHED") -> None:
        """Do nothing."""

    def links(self, base: str | None = None) -> dict[str, str]:
        """Return no links."""
        return {}
