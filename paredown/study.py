"""A study as it stands: its trials, their front, and the way to its compressed models."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paredown.torch_state import as_in_a_trial
from paredown.trial import Trial
from search.config.study_config import StudyConfig
from search.deploy.export import Export, export_trial
from search.deploy.formats import DEFAULT
from search.errors import StudyError
from search.pareto.selection import select
from search.report.result import StudyResult

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, repr=False)
class Study:
    """A study as it stood when it was run or loaded."""

    config: StudyConfig
    """What it was last run with."""
    result: StudyResult
    """Its records, their front, the hypervolume after each trial, and the tracker's links."""

    def __repr__(self) -> str:
        trials, front = len(self.result.records), len(self.result.front)
        return f"<Study '{self.name}' in {self.folder}: {trials} trials, {front} on the front>"

    @property
    def name(self) -> str:
        """The study's name, and that of its folder."""
        return self.config.study

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.config.folder

    @property
    def trials(self) -> list[Trial]:
        """All finished trials, in order of number."""
        return [Trial(config=self.config, record=record) for record in self.result.records]

    @property
    def front(self) -> list[Trial]:
        """The feasible trials that no other dominates, the best by the first objective first."""
        return [Trial(config=self.config, record=record) for record in self.result.front]

    def frame(self) -> "pd.DataFrame":
        """Return one row per trial: status, recipe, every metric, parameter and constraint."""
        return self.result.frame

    def trial(self, number: int) -> Trial:
        """Return a finished trial by its number; raise `StudyError` if there is none."""
        for trial in self.trials:
            if trial.number == number:
                return trial
        known = ", ".join(str(record.number) for record in self.result.records) or "-"
        raise StudyError(f"study '{self.name}' has no finished trial {number}; there are: {known}")

    def select(self, expression: str | int = "knee") -> Trial:
        """Return the trial that an expression names.

        Args:
            expression: A trial's number, or `knee`, `smallest`, `fastest`, `best`, `max METRIC` or
                `min METRIC`, each with or without `where METRIC <= NUMBER[UNIT] [and ...]`.

        Raises:
            SelectionError: the expression cannot be read, or no trial answers it.
        """
        objectives, weights = self.config.objectives, self.config.preferences.weights
        record = select(self.result.records, objectives, expression, weights)
        return Trial(config=self.config, record=record)

    def export(
        self,
        select: str | int = "knee",
        output: str | Path | None = None,
        trust: Collection[str] = (),
        formats: Collection[str] = DEFAULT,
    ) -> Export:
        """Write a trial for deployment, as `paredown export` does, and verify it by reloading.

        Args:
            select: Which trial, as in `select`.
            output: The folder to write; `export/trial-NNNN` in the study's folder unless given.
            trust: Packages whose code may run because a study from elsewhere names it.
            formats: Some of onnx, packed, safetensors, pt2 and openvino; onnx is always one.

        Returns:
            The folder, the trial's record and its metrics on the test set.

        Raises:
            SelectionError: the expression names no trial.
            StudyError: the exported file does not give the trial's metrics.
        """
        with as_in_a_trial(self.config.threads):
            target = Path(output) if output else None
            return export_trial(self.folder, select, target, trust, formats)
