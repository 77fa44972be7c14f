"""One study in MLflow: a parent run and a child run per trial, written once and kept current."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from search.tracking.base import StudyDescription
from search.tracking.mlflow_client import one_line_errors
from search.tracking.mlflow_links import StudyLocation, study_links
from search.tracking.mlflow_study import Destination, StudyRun, open_study_run
from search.tracking.mlflow_trial_run import (
    PARENT,
    TrialRun,
    begin_trial_run,
    complete_trial_run,
    flag,
    known_trial_run,
    log_metrics,
    mend_tags,
)
from search.trial_record import TrialRecord

MAX_METRICS = 1000
"""Metrics that MLflow takes in one call at most."""
DEFAULT_UI = "http://127.0.0.1:5000"


@dataclass(kw_only=True)
class MlflowMirror:
    """The parent run of a study, and what it and its children are known to contain."""

    study: StudyRun
    open_run: Callable[[], StudyRun]
    """Finds the parent run, or creates it."""
    trials: dict[int, TrialRun]
    """Runs of the trials, by trial number."""
    hypervolume: dict[int, float]
    """What is logged of it, by trial number; NaN if several values are."""
    note: str = ""
    """What the user is to know of the opening; empty if nothing."""
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
            if any(value != hypervolume.get(n, value) for n, value in self.hypervolume.items()):
                self._renew_parent()
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
        """Write a trial that is new, and else what its run lacks or has otherwise."""
        run = self.trials.get(record.number)
        if run is not None and run.contradicts(self.study, record):
            self.study.client.delete_run(run.run_id)
            run = None
        if run is None:
            run = self.trials[record.number] = begin_trial_run(self.study, record)
        mend_tags(self.study, run, record)
        if run.is_whole(self.study, record):
            log_metrics(self.study, run, record)
        else:
            complete_trial_run(self.study, run, record)

    def _renew_parent(self) -> None:
        """Replace the parent run, of which MLflow changes no metric that is logged."""
        self.study.client.delete_run(self.study.run_id)
        self.study, self.hypervolume = self.open_run(), {}
        for run in self.trials.values():
            self.study.client.set_tag(run.run_id, PARENT, self.study.run_id)

    def _log_hypervolume(self, hypervolume: Mapping[int, float]) -> None:
        """Log each new value at the time when its trial ended."""
        # MLflow takes seconds to import, which only a study that is mirrored shall spend.
        from mlflow.entities import Metric

        metrics = [
            Metric("hypervolume", value, self.trials[number].finished_ms, number)
            for number, value in sorted(hypervolume.items())
            if number not in self.hypervolume
        ]
        for start in range(0, len(metrics), MAX_METRICS):
            chunk = metrics[start : start + MAX_METRICS]
            self.study.client.log_batch(self.study.run_id, metrics=chunk)
            self.hypervolume |= {metric.step: metric.value for metric in chunk}


def open_mirror(study: StudyDescription, study_id: str, destination: Destination) -> MlflowMirror:
    """Open the mirror of a study and read back what MLflow already has of it.

    Raises:
        TrackingError: MLflow cannot be reached or used.
    """
    open_run = partial(open_study_run, study, study_id, destination)
    opened = open_run()
    with one_line_errors(opened.uri):
        trials: dict[int, TrialRun] = {}
        # The newest come first; a run that was left open is the first to go.
        for run in sorted(opened.children(), key=lambda run: run.info.status == "RUNNING"):
            number = run.data.tags["paredown.trial"]
            if number.isdecimal() and int(number) not in trials:
                trials[int(number)] = known_trial_run(run)
            else:
                opened.client.delete_run(run.info.run_id)
        hypervolume: dict[int, float] = {}
        for metric in opened.client.get_metric_history(opened.run_id, "hypervolume"):
            twice = metric.step in hypervolume
            hypervolume[metric.step] = math.nan if twice else metric.value
    return MlflowMirror(
        study=opened,
        open_run=open_run,
        trials=trials,
        hypervolume=hypervolume,
    )
