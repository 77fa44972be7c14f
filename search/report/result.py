"""What a study has so far: its trials, their front, and how the hypervolume grew."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from search.config.study_config import StudyConfig
from search.pareto.archive import archive_of
from search.report.panels import write_pictures
from search.report.tables import trials_frame
from search.trial_record import TrialRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study has in the end."""

    folder: Path
    records: list[TrialRecord]
    front: list[TrialRecord]
    history: Mapping[int, float]
    """The hypervolume after each trial; 1 is the baseline's score at no cost."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Where the tracker shows it."""

    @property
    def frame(self) -> "pd.DataFrame":
        """All trials, one row each."""
        return trials_frame(self.records, [record.number for record in self.front])


def study_result(config: StudyConfig, records: list[TrialRecord]) -> StudyResult:
    """Return what finished trials amount to: their front, and the hypervolume as it grew."""
    archive = archive_of(records, config.objectives, config.preferences.reference)
    return StudyResult(
        folder=config.folder, records=records, front=archive.front, history=archive.history
    )


def baseline_of(records: list[TrialRecord]) -> TrialRecord | None:
    """Return the trial that measured the uncompressed model, if it is there."""
    return next((r for r in records if r.origin == "baseline" and r.status == "ok"), None)


def draw(config: StudyConfig, result: StudyResult) -> list[Path]:
    """Write front.html and front.png; nothing before the baseline and one front are measured."""
    baseline = baseline_of(result.records)
    if baseline is None or not result.front:
        return []
    numbers = [record.number for record in result.front]
    return write_pictures(result.records, numbers, config.objectives, baseline, config.folder)
