"""The run of one trial in MLflow: its tags, parameters, metrics and files."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from search.report.describe import describe, last_line
from search.tracking.mlflow_study import StudyRun
from search.trial_record import TrialRecord
from search.utils.yaml_text import yaml_text

if TYPE_CHECKING:
    from mlflow.entities import Param, Run

NOT_SAMPLED = "-"
"""Value of a parameter that a trial does not have."""
MAX_ERROR_CHARACTERS = 500
SHORTENED = 250
"""Characters of a text from which on versions of MLflow cut it."""
RECIPE = "recipe.yaml"
PARENT = "mlflow.parentRunId"
OF_THE_TIME = ("paredown.version", "paredown.commit", "paredown.front")
"""Tags of a run that later versions and later trials may have otherwise."""


@dataclass(kw_only=True)
class TrialRun:
    """What MLflow already has of one trial."""

    run_id: str
    artifacts: str
    """Address of the folder for the run's files."""
    complete: bool
    """Whether the run was closed after everything was written."""
    failed: bool
    """Whether it was closed as that of a trial that failed."""
    front: bool
    """Whether the run is marked as a member of the front."""
    finished_ms: int
    """When the trial ended, in Unix milliseconds."""
    metrics: dict[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def contradicts(self, study: StudyRun, record: TrialRecord) -> bool:
        """Return whether something cannot be mended: MLflow never changes a parameter or metric."""
        params = set(study.parameters) & set(self.params)
        metrics = set(_finite(record)) & set(self.metrics)
        return any(not _same(_text(record, n), self.params[n]) for n in params) or any(
            self.metrics[name] != record.metrics[name] for name in metrics
        )

    def is_whole(self, study: StudyRun, record: TrialRecord) -> bool:
        """Return whether nothing but metrics that were measured later can be missing.

        Files are looked for where they lie on this machine, not on a server.
        """
        folder = urlsplit(self.artifacts)
        lies_here = folder.scheme in ("", "file")
        return (
            self.complete
            and self.failed == (record.status != "ok")
            and set(study.parameters) <= set(self.params)
            and (not lies_here or Path(url2pathname(folder.path), RECIPE).is_file())
        )


def known_trial_run(run: "Run") -> TrialRun:
    """Return what a run contains that was written before."""
    return TrialRun(
        run_id=run.info.run_id,
        artifacts=run.info.artifact_uri,
        complete=run.info.status in ("FINISHED", "FAILED"),
        failed=run.info.status == "FAILED",
        front=run.data.tags.get("paredown.front") == flag(True),
        finished_ms=run.info.end_time or 0,
        metrics=dict(run.data.metrics),
        params=dict(run.data.params),
        tags=dict(run.data.tags),
    )


def begin_trial_run(study: StudyRun, record: TrialRecord) -> TrialRun:
    """Create the run of a trial, with its tags and nothing else."""
    started, tags = round(record.started * 1000), _tags(study, record)
    run = known_trial_run(study.client.create_run(study.experiment_id, started, tags))
    run.finished_ms = _finished_ms(record)
    return run


def mend_tags(study: StudyRun, run: TrialRun, record: TrialRecord) -> None:
    """Set the tags that a run lacks or has otherwise, but for those of who wrote it and when."""
    wanted = {
        key: value
        for key, value in _tags(study, record).items()
        if key == PARENT or (key.startswith("paredown.") and key not in OF_THE_TIME)
    }
    for key, value in wanted.items():
        if not _same(value, run.tags.get(key, "")):
            study.client.set_tag(run.run_id, key, value)
    run.tags = {**run.tags, **wanted}


def complete_trial_run(study: StudyRun, run: TrialRun, record: TrialRecord) -> None:
    """Write everything that a run lacks and close it."""
    # MLflow takes seconds to import, which only a study that is mirrored shall spend.
    from mlflow.entities import Param

    params = {name: _text(record, name) for name in study.parameters}
    log_metrics(study, run, record, params=[Param(name, text) for name, text in params.items()])
    _write_files(study, run, record)
    run.params, run.failed = params, record.status != "ok"
    status = "FAILED" if run.failed else "FINISHED"
    study.client.set_terminated(run.run_id, status, end_time=_finished_ms(record))
    run.complete, run.finished_ms = True, _finished_ms(record)


def log_metrics(
    study: StudyRun, run: TrialRun, record: TrialRecord, *, params: Sequence["Param"] = ()
) -> None:
    """Log the finite metrics that a run lacks, and parameters if given."""
    from mlflow.entities import Metric

    new = {name: value for name, value in _finite(record).items() if name not in run.metrics}
    if new or params:
        metrics = [Metric(name, value, _finished_ms(record), 0) for name, value in new.items()]
        study.client.log_batch(run.run_id, metrics=metrics, params=params)
        run.metrics |= new


def flag(value: bool) -> str:
    """Return a truth value as a tag has it."""
    return "true" if value else "false"


def _finite(record: TrialRecord) -> dict[str, float]:
    return {name: value for name, value in record.metrics.items() if math.isfinite(value)}


def _text(record: TrialRecord, parameter: str) -> str:
    return str(record.params.get(parameter, NOT_SAMPLED))


def _same(text: str, found: str) -> bool:
    """Return whether MLflow has a text, of which it keeps the beginning if it is long."""
    return found == text or (len(found) >= SHORTENED and text.startswith(found))


def _finished_ms(record: TrialRecord) -> int:
    return round(record.finished * 1000)


def _tags(study: StudyRun, record: TrialRecord) -> dict[str, str]:
    error = last_line(record.error)[:MAX_ERROR_CHARACTERS]
    return {
        **study.shared_tags,
        PARENT: study.run_id,
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
        (folder / RECIPE).write_text(yaml_text(record.recipe))
        if record.status != "ok":
            (folder / "traceback.txt").write_text(record.error)
        # The client would read the whole run again to find the address of its files.
        repository: Any = get_artifact_repository(run.artifacts, study.uri)
        repository.log_artifacts(name)
