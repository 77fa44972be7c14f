"""One study in MLflow: a parent run and a child run per trial, written once and kept current."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from search.tracking.base import StudyDescription
from search.tracking.mlflow_client import one_line_errors
from search.tracking.mlflow_links import StudyLocation, study_links
from search.tracking.mlflow_study import Destination, StudyRun, open_study_run
from search.tracking.mlflow_trial_run import (
    TrialRun,
    begin_trial_run,
    complete_trial_run,
    flag,
    known_trial_run,
    log_metrics,
)
from search.trial_record import TrialRecord

MAX_METRICS = 1000
"""Metrics that MLflow takes in one call at most."""
DEFAULT_UI = "http://127.0.0.1:5000"


@dataclass(kw_only=True)
class MlflowMirror:
    """The parent run of a study, and what it and its children are known to contain."""

    study: StudyRun
    trials: dict[int, TrialRun]
    """Runs of the trials, by trial number."""
    hypervolume_steps: set[int]
    """Trial numbers whose hypervolume is logged."""
    pending: dict[int, TrialRecord] = field(default_factory=dict)
    """Trials that are still to be written, because MLflow failed."""

    def write_trials(self, records: Sequence[TrialRecord]) -> None:
        """Write the trials and the metrics that MLflow lacks.

        Raises:
            TrackingError: MLflow fails; the next call writes what is missing.
        """
        self.pending |= {record.number: record for record in records}
        with one_line_errors(self.study.uri):
            for number in sorted(self.pending):
                self._write_trial(self.pending[number])
                del self.pending[number]

    def write_front(self, front: Collection[int], hypervolume: Mapping[int, float]) -> None:
        """Mark the trials that joined or left the front; log new values of the hypervolume.

        Raises:
            TrackingError: MLflow fails; the next call writes what is missing.
        """
        marked = {number for number, run in self.trials.items() if run.front}
        with one_line_errors(self.study.uri):
            for number in sorted(marked ^ set(front)):
                run = self.trials[number]
                self.study.client.set_tag(run.run_id, "paredown.front", flag(not run.front))
                run.front = not run.front
            self._log_hypervolume(hypervolume)

    def finish(self, files: Sequence[Path], *, status: str = "FINISHED") -> None:
        """Store pictures and tables with the parent run and close it.

        Raises:
            TrackingError: MLflow fails.
        """
        client, run_id = self.study.client, self.study.run_id
        with one_line_errors(self.study.uri):
            for path in files:
                client.log_artifact(run_id, str(path))
            client.set_terminated(run_id, status)

    def links(self, base: str | None = None) -> dict[str, str]:
        """Return links that open the table, the comparison of the front, and the charts.

        Args:
            base: address of the UI; None: the tracking server, or http://127.0.0.1:5000.
        """
        server = self.study.uri if self.study.uri.startswith("http") else DEFAULT_UI
        location = StudyLocation(
            experiment_id=self.study.experiment_id,
            study_id=self.study.study_id,
            parent=self.study.run_id,
            front=[run.run_id for _, run in sorted(self.trials.items()) if run.front],
        )
        return study_links(base or server, location)

    def _write_trial(self, record: TrialRecord) -> None:
        """Write a trial that is new or that a killed driver left open, else its new metrics."""
        if record.number not in self.trials:
            self.trials[record.number] = begin_trial_run(self.study, record)
        run = self.trials[record.number]
        if run.complete:
            log_metrics(self.study, run, record)
        else:
            complete_trial_run(self.study, run, record)

    def _log_hypervolume(self, hypervolume: Mapping[int, float]) -> None:
        """Log each new value at the time when its trial ended."""
        # MLflow takes seconds to import, which only a study that is mirrored shall spend.
        from mlflow.entities import Metric

        metrics = [
            Metric("hypervolume", value, self.trials[number].finished_ms, number)
            for number, value in sorted(hypervolume.items())
            if number not in self.hypervolume_steps
        ]
        for start in range(0, len(metrics), MAX_METRICS):
            chunk = metrics[start : start + MAX_METRICS]
            self.study.client.log_batch(self.study.run_id, metrics=chunk)
            self.hypervolume_steps |= {metric.step for metric in chunk}


def open_mirror(study: StudyDescription, study_id: str, destination: Destination) -> MlflowMirror:
    """Open the mirror of a study and read back what MLflow already has of it.

    Raises:
        TrackingError: MLflow cannot be reached or used.
    """
    opened = open_study_run(study, study_id, destination)
    with one_line_errors(opened.uri):
        trials = {
            int(run.data.tags["paredown.trial"]): known_trial_run(run) for run in opened.children()
        }
        logged = opened.client.get_metric_history(opened.run_id, "hypervolume")
    return MlflowMirror(
        study=opened, trials=trials, hypervolume_steps={metric.step for metric in logged}
    )
