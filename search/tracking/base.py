"""What every tracker offers: a mirror of a study, opened from the study's description."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from search.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class StudyDescription:
    """What a tracker shows of a study as a whole."""

    name: str
    runs_dir: Path
    """Folder that holds the study's folder."""
    config_yaml: str
    """Text of the study's configuration."""
    objectives: Mapping[str, str]
    """`maximize` or `minimize` by metric, the most important first."""
    parameters: Sequence[str]
    """Names of all parameters of the space."""
    tags: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.runs_dir / self.name


class Mirror(Protocol):
    """A study that is open in a tracker; everything in it can be rebuilt from the records."""

    @property
    def note(self) -> str:
        """What the user is to know of the opening, in a line; empty if nothing."""
        ...

    def write_trials(self, records: Sequence[TrialRecord]) -> None:
        """Write the trials and the metrics that the tracker lacks.

        Raises:
            TrackingError: the tracker fails; the next call writes what is missing.
        """
        ...

    def write_front(self, front: Collection[int], hypervolume: Mapping[int, float]) -> None:
        """Mark the trials of the front and write the history of the hypervolume.

        Args:
            front: numbers of the trials on the front.
            hypervolume: the hypervolume after each trial, by trial number.

        Raises:
            TrackingError: the tracker fails; the next call writes what is missing.
        """
        ...

    def finish(self, files: Sequence[Path], *, status: str = "FINISHED") -> None:
        """Store pictures and tables and close the study.

        Args:
            files: what to store.
            status: FINISHED, FAILED or KILLED.

        Raises:
            TrackingError: the tracker fails.
        """
        ...

    def links(self, base: str | None = None) -> dict[str, str]:
        """Return links into the tracker's UI, by what they show.

        Args:
            base: address of the UI; None: where it runs by default.
        """
        ...


@runtime_checkable
class Tracker(Protocol):
    """Where studies are mirrored; `_target_` in conf/tracking/."""

    def check(self) -> None:
        """Check that the tracker can be reached, before a study begins.

        Raises:
            TrackingError: it cannot.
        """
        ...

    def open(self, study: StudyDescription) -> Mirror:
        """Open the mirror of a study, the existing one if there is one.

        Raises:
            TrackingError: the tracker cannot be reached or used.
        """
        ...
