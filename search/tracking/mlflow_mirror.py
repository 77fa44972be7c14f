"""One study in MLflow: a parent run, a child run per trial, written once and kept current."""

import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.report.describe import describe, last_line
from search.tracking.mlflow_client import connect, one_line_errors
from search.tracking.mlflow_links import study_links
from search.tracking.mlflow_study import (
    all_runs,
    experiment_id_of,
    keep_views,
    parent_run,
    shared_tags,
)
from search.tracking.mlflow_views import study_views
from search.trial_record import TrialRecord
from search.utils.yaml_text import yaml_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Param

NOT_SAMPLED = "-"
BATCH = 1000
"""The most metrics that MLflow takes in one call."""


@dataclass(kw_only=True)
class Child:
    """What MLflow already holds of one trial."""

    run_id: str
    artifacts: str
    """Address of the folder for its files."""
    complete: bool
    front: bool
    finished_ms: int
    metrics: set[str] = field(default_factory=set)


@dataclass(kw_only=True)
class MlflowMirror:
    """The open parent run of a study and what is known to be in it."""

    client: "MlflowClient"
    uri: str
    study: str
    experiment_id: str
    run_id: str
    """Of the parent."""
    parameters: Sequence[str]
    shared_tags: Mapping[str, str]
    children: dict[int, Child] = field(default_factory=dict)
    steps: set[int] = field(default_factory=set)
    """Trial numbers whose hypervolume is logged."""
    pending: dict[int, TrialRecord] = field(default_factory=dict)
    """Trials that are not written yet, because MLflow failed."""

    @classmethod
    def open(
        cls,
        *,
        study: str,
        uri: str,
        experiment: str,
        artifacts: str | None,
        config_yaml: str,
        objectives: Mapping[str, str],
        parameters: Sequence[str],
        tags: Mapping[str, str],
    ) -> "MlflowMirror":
        """Find the parent run by its `paredown.study_id` tag, or create it.

        Raises: TrackingError if MLflow cannot be reached or used.
        """
        client = connect(uri)
        with one_line_errors(uri):
            experiment_id = experiment_id_of(client, experiment, artifacts)
            shared = shared_tags(study, tags["paredown.study_id"])
            run_id = parent_run(client, experiment_id, study, {**tags, **shared})
            views = study_views(tags["paredown.study_id"], objectives, parameters)
            keep_views(client, experiment_id, views)
            client.log_text(run_id, config_yaml, "config.yaml")
            mirror = cls(
                client=client,
                uri=uri,
                study=study,
                experiment_id=experiment_id,
                run_id=run_id,
                parameters=tuple(parameters),
                shared_tags=shared,
            )
            mirror.recall()
        return mirror

    def recall(self) -> None:
        """Read back which trials, metrics and steps the tracker already holds."""
        parent = f"tags.`mlflow.parentRunId` = '{self.run_id}'"
        for run in all_runs(self.client, self.experiment_id, parent):
            self.children[int(run.data.tags["paredown.trial"])] = Child(
                run_id=run.info.run_id,
                artifacts=run.info.artifact_uri,
                complete=run.info.status in ("FINISHED", "FAILED"),
                front=run.data.tags.get("paredown.front") == "true",
                finished_ms=run.info.end_time or 0,
                metrics=set(run.data.metrics),
            )
        logged = self.client.get_metric_history(self.run_id, "hypervolume")
        self.steps = {metric.step for metric in logged}

    def sync(self, records: Sequence[TrialRecord]) -> None:
        """Write the trials and the metrics that MLflow lacks.

        Raises: TrackingError if MLflow fails; the next call writes what is then missing.
        """
        self.pending |= {record.number: record for record in records}
        with one_line_errors(self.uri):
            for number in sorted(self.pending):
                self._sync_trial(self.pending[number])
                del self.pending[number]

    def mark(self, front: Collection[int], hypervolume: Mapping[int, float]) -> None:
        """Write the changed membership of the front, and the steps of the hypervolume that lack.

        Raises: TrackingError if MLflow fails; the next call writes what is then missing.
        """
        marked = {number for number, child in self.children.items() if child.front}
        with one_line_errors(self.uri):
            for number in sorted(marked ^ set(front)):
                child = self.children[number]
                self.client.set_tag(child.run_id, "paredown.front", _flag(not child.front))
                child.front = not child.front
            self._log_hypervolume({n: v for n, v in hypervolume.items() if n not in self.steps})

    def finish(self, files: Sequence[Path], *, status: str = "FINISHED") -> None:
        """Store pictures and tables with the parent run and close it.

        Raises: TrackingError if MLflow fails.
        """
        with one_line_errors(self.uri):
            for path in files:
                self.client.log_artifact(self.run_id, str(path))
            self.client.set_terminated(self.run_id, status)

    def links(self, base: str | None = None) -> dict[str, str]:
        """Return links that open the table, the comparison of the front, and the charts.

        `base` is the address of the UI: the tracking server, or http://127.0.0.1:5000.
        """
        server = self.uri if self.uri.startswith("http") else "http://127.0.0.1:5000"
        front = [child.run_id for _, child in sorted(self.children.items()) if child.front]
        return study_links(
            base or server,
            experiment_id=self.experiment_id,
            study_id=self.shared_tags["paredown.study_id"],
            parent=self.run_id,
            front=front,
        )

    def _sync_trial(self, record: TrialRecord) -> None:
        child = self.children.get(record.number)
        if child is None or not child.complete:
            self._write_trial(record, child)
        else:
            self._log_metrics(record, child)

    def _write_trial(self, record: TrialRecord, child: Child | None) -> None:
        """Create the run of a trial, or complete the one that a killed driver left open."""
        from mlflow.entities import Param

        finished_ms = round(record.finished * 1000)
        if child is None:
            run = self.client.create_run(
                self.experiment_id,
                start_time=round(record.started * 1000),
                tags=self._trial_tags(record),
            )
            child = Child(
                run_id=run.info.run_id,
                artifacts=run.info.artifact_uri,
                complete=False,
                front=False,
                finished_ms=finished_ms,
            )
            self.children[record.number] = child
        params = [
            Param(name, str(record.params.get(name, NOT_SAMPLED))) for name in self.parameters
        ]
        self._log_metrics(record, child, params=params)
        self._write_evidence(record, child)
        status = "FINISHED" if record.status == "ok" else "FAILED"
        self.client.set_terminated(child.run_id, status, end_time=finished_ms)
        child.complete, child.finished_ms = True, finished_ms

    def _log_metrics(
        self,
        record: TrialRecord,
        child: Child,
        params: Sequence["Param"] = (),
    ) -> None:
        """Log the finite metrics that the run lacks, with parameters if given."""
        from mlflow.entities import Metric

        at = round(record.finished * 1000)
        new = {
            name: value
            for name, value in record.metrics.items()
            if name not in child.metrics and math.isfinite(value)
        }
        if new or params:
            metrics = [Metric(name, value, at, 0) for name, value in new.items()]
            self.client.log_batch(child.run_id, metrics=metrics, params=params)
            child.metrics |= set(new)

    def _trial_tags(self, record: TrialRecord) -> dict[str, str]:
        return {
            **self.shared_tags,
            "mlflow.parentRunId": self.run_id,
            "mlflow.runName": f"{record.number:04d} {describe(record)}",
            "paredown.trial": str(record.number),
            "paredown.origin": record.origin,
            "paredown.status": record.status,
            "paredown.verdict": record.verdict or NOT_SAMPLED,
            **({"paredown.notes": record.notes} if record.notes else {}),
            "paredown.feasible": _flag(record.feasible),
            "paredown.front": _flag(False),
            "paredown.recipe_hash": record.recipe_hash,
            **({"paredown.error": last_line(record.error)[:500]} if record.error else {}),
        }

    def _log_hypervolume(self, steps: Mapping[int, float]) -> None:
        """Log steps of the hypervolume at the time when their trials ended."""
        from mlflow.entities import Metric

        metrics = [
            Metric("hypervolume", value, self.children[number].finished_ms, number)
            for number, value in sorted(steps.items())
        ]
        for start in range(0, len(metrics), BATCH):
            chunk = metrics[start : start + BATCH]
            self.client.log_batch(self.run_id, metrics=chunk)
            self.steps |= {metric.step for metric in chunk}

    def _write_evidence(self, record: TrialRecord, child: Child) -> None:
        """Write what the run shows as files: the recipe, and the traceback of a failure."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "recipe.yaml").write_text(yaml_text(record.recipe))
            if record.status != "ok":
                (folder / "traceback.txt").write_text(record.error)
            # The client would read the whole run again to learn where its files are.
            files: Any = get_artifact_repository(child.artifacts, self.uri)
            files.log_artifacts(name)


def _flag(value: bool) -> str:
    return "true" if value else "false"
