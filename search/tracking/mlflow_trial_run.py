"""The run of one trial in MLflow: its tags, parameters, metrics and files."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.report.describe import describe, last_line
from search.tracking.mlflow_study import StudyRun
from search.trial_record import TrialRecord
from search.utils.yaml_text import yaml_text

if TYPE_CHECKING:
    from mlflow.entities import Param, Run

NOT_SAMPLED = "-"
"""Value of a parameter that a trial does not have."""
MAX_ERROR_CHARACTERS = 500


@dataclass(kw_only=True)
class TrialRun:
    """What MLflow already has of one trial."""

    run_id: str
    artifacts: str
    """Address of the folder for the run's files."""
    complete: bool
    front: bool
    """Whether the run is marked as a member of the front."""
    finished_ms: int
    """When the trial ended, in Unix milliseconds."""
    metrics: set[str] = field(default_factory=set)
    """Names of the metrics that are logged."""


def known_trial_run(run: "Run") -> TrialRun:
    """Return what a run contains that was written before."""
    return TrialRun(
        run_id=run.info.run_id,
        artifacts=run.info.artifact_uri,
        complete=run.info.status in ("FINISHED", "FAILED"),
        front=run.data.tags.get("paredown.front") == flag(True),
        finished_ms=run.info.end_time or 0,
        metrics=set(run.data.metrics),
    )


def begin_trial_run(study: StudyRun, record: TrialRecord) -> TrialRun:
    """Create the run of a trial, with its tags and nothing else."""
    run = study.client.create_run(
        study.experiment_id,
        start_time=round(record.started * 1000),
        tags=_tags(study, record),
    )
    return TrialRun(
        run_id=run.info.run_id,
        artifacts=run.info.artifact_uri,
        complete=False,
        front=False,
        finished_ms=_finished_ms(record),
    )


def complete_trial_run(study: StudyRun, run: TrialRun, record: TrialRecord) -> None:
    """Write everything that a run lacks and close it."""
    # MLflow takes seconds to import, which only a study that is mirrored shall spend.
    from mlflow.entities import Param

    params = [Param(name, str(record.params.get(name, NOT_SAMPLED))) for name in study.parameters]
    log_metrics(study, run, record, params=params)
    _write_files(study, run, record)
    status = "FINISHED" if record.status == "ok" else "FAILED"
    study.client.set_terminated(run.run_id, status, end_time=_finished_ms(record))
    run.complete, run.finished_ms = True, _finished_ms(record)


def log_metrics(
    study: StudyRun, run: TrialRun, record: TrialRecord, *, params: Sequence["Param"] = ()
) -> None:
    """Log the finite metrics that a run lacks, and parameters if given."""
    from mlflow.entities import Metric

    new = {
        name: value
        for name, value in record.metrics.items()
        if name not in run.metrics and math.isfinite(value)
    }
    if new or params:
        metrics = [Metric(name, value, _finished_ms(record), 0) for name, value in new.items()]
        study.client.log_batch(run.run_id, metrics=metrics, params=params)
        run.metrics |= set(new)


def flag(value: bool) -> str:
    """Return a truth value as a tag has it."""
    return "true" if value else "false"


def _finished_ms(record: TrialRecord) -> int:
    return round(record.finished * 1000)


def _tags(study: StudyRun, record: TrialRecord) -> dict[str, str]:
    error = last_line(record.error)[:MAX_ERROR_CHARACTERS]
    return {
        **study.shared_tags,
        "mlflow.parentRunId": study.run_id,
        "mlflow.runName": f"{record.number:04d} {describe(record)}",
        "paredown.trial": str(record.number),
        "paredown.origin": record.origin,
        "paredown.status": record.status,
        "paredown.verdict": record.verdict or NOT_SAMPLED,
        **({"paredown.notes": record.notes} if record.notes else {}),
        "paredown.feasible": flag(record.feasible),
        "paredown.front": flag(False),
        "paredown.recipe_hash": record.recipe_hash,
        **({"paredown.error": error} if record.error else {}),
    }


def _write_files(study: StudyRun, run: TrialRun, record: TrialRecord) -> None:
    """Write the recipe, and the traceback of a trial that failed."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.yaml").write_text(yaml_text(record.recipe))
        if record.status != "ok":
            (folder / "traceback.txt").write_text(record.error)
        # The client would read the whole run again to find the address of its files.
        repository: Any = get_artifact_repository(run.artifacts, study.uri)
        repository.log_artifacts(name)
