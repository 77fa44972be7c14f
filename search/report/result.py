"""What a study has so far: its trials, their front, and how the hypervolume grew."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from search.config.study_config import StudyConfig
from search.pareto.archive import archive_of
from search.trial_record import TrialRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """Finished trials of a study and what follows from them."""

    folder: Path
    """Folder of the study."""
    records: list[TrialRecord]
    front: list[TrialRecord]
    """Members of the front, the best by the first objective first."""
    history: Mapping[int, float]
    """Hypervolume after each trial, by trial number; 1 is the baseline's score at no cost."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses in the tracker's UI, by what they show."""

    @property
    def front_numbers(self) -> list[int]:
        """Numbers of the trials on the front, in its order."""
        return [record.number for record in self.front]

    @property
    def frame(self) -> "pd.DataFrame":
        """All trials, one row each."""
        from search.report.tables import trials_frame  # pandas takes a second to import

        return trials_frame(self.records, self.front_numbers)


def study_result(config: StudyConfig, records: list[TrialRecord]) -> StudyResult:
    """Return finished trials with their front and the history of the hypervolume."""
    archive = archive_of(records, config.objectives, config.preferences.reference)
    return StudyResult(
        folder=config.folder, records=records, front=archive.front, history=archive.history
    )


def baseline_of(records: list[TrialRecord]) -> TrialRecord | None:
    """Return the trial that measured the uncompressed model; None if there is none."""
    return next((r for r in records if r.origin == "baseline" and r.status == "ok"), None)
