"""What is known of an exported model: where it comes from, what it measured, what built it."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from search.artefact.model_files import MODEL_FILES, RUN_FORM
from search.config.latency_settings import LatencySettings
from search.deploy.formats import OPENVINO, OPENVINO_WEIGHTS, PROGRAM
from search.deploy.selected_trial import SelectedTrial, metrics_on_test
from search.deploy.task_now import TaskNow
from search.tasks.task import EvaluatedTask
from search.trial.baseline import Baseline
from search.trial.latency import measure_latency
from search.utils.cpu import cpu_model
from search.utils.files import file_sha256
from search.utils.provenance import code_version

LIBRARIES = (
    "torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "numpy",
    "constriction",
    "torch-pruning",
    "scikit-learn",
)
"""Libraries whose versions may change the exported files."""
HASHED_FILES = (*MODEL_FILES, PROGRAM, OPENVINO, OPENVINO_WEIGHTS, "recipe.yaml", "unpack.py")
"""The files of an export, of which there may be no data file."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Contents of evidence.json."""

    study: str
    trial: int
    select: str
    """The expression that selected the trial."""
    front: Sequence[int]
    """Numbers of the trials on the front, the best by the first objective first."""
    front_position: int | None
    """Position of the trial on the front, from 1; None if it is not on it."""
    objectives: Mapping[str, str]
    constraints: Sequence[str]
    verdict: str
    notes: str
    """Where the artefact does not follow the recipe; empty where it does."""
    validation: Mapping[str, float]
    """All metrics of the trial that are not of the test set."""
    test: Mapping[str, float]
    """score, score_standard_error and nll on the test set."""
    baseline_test: Mapping[str, float]
    """The same of the baseline; empty if the study has not measured them."""
    baseline: Mapping[str, float]
    """Metrics of the baseline on validation data."""
    latency: Mapping[str, int]
    """How latency was measured: batch_size, threads and rounds."""
    input_shapes: Mapping[str, Sequence[int]]
    """By input, the shape of one sample that latency and multiply-accumulates are for."""
    built_from: Mapping[str, Any]
    """What makes the model again beside the recipe: task, threads, baseline_fingerprint and data,
    the size of the training data and a digest of the test set."""
    recipe: Mapping[str, Any]
    sha256: Mapping[str, str]
    """Digests by file."""
    code: Mapping[str, str]
    """Version and commit of Paredown."""
    versions: Mapping[str, str]
    """Versions of Python and the libraries."""
    card: Mapping[str, str]
    """What the task says for the model card: metric, preprocessing, license."""
    outputs: str
    """What the outputs mean, in words; empty if the task cannot be built."""
    maximize: bool
    """Whether a higher score is better."""
    timed: Mapping[str, Any]
    """The CPU's name and the milliseconds of a call on it, of this model and of the baseline;
    empty if the task cannot be built."""
    changed: str
    """What has changed in the task since the trial was measured; empty if nothing has."""

    def with_hashes(self, folder: Path) -> Self:
        """Return the evidence with the digests of the files that are in a folder now."""
        return replace(self, sha256=_hashes(folder))

    def to_data(self) -> dict[str, Any]:
        """Return the evidence as plain data."""
        return asdict(self)


def collect_evidence(
    selected: SelectedTrial,
    baseline: Baseline,
    test: Mapping[str, float],
    folder: Path,
    *,
    input_shapes: Mapping[str, Sequence[int]],
    now: TaskNow,
) -> Evidence:
    """Return the evidence of an exported trial.

    Args:
        selected: the trial.
        baseline: the study's baseline.
        test: metrics of the trial on the test set.
        folder: the export's folder, with the files that are to be hashed.
        input_shapes: by input, the shape of one sample of the task's example.
        now: the task as it is at the export.
    """
    config, record, front = selected.config, selected.record, selected.front
    return Evidence(
        study=config.study,
        trial=record.number,
        select=selected.expression,
        front=front,
        front_position=front.index(record.number) + 1 if record.number in front else None,
        objectives=dict(config.objectives),
        constraints=[str(constraint) for constraint in config.constraints],
        verdict=record.verdict,
        notes=record.notes,
        validation={n: v for n, v in record.metrics.items() if not n.startswith("test_")},
        test=dict(test),
        baseline_test=metrics_on_test(selected.records[0]),
        baseline=dict(baseline.metrics),
        latency=asdict(config.latency),
        input_shapes=input_shapes,
        built_from={
            "task": dict(config.task),
            "threads": config.threads,
            "baseline_fingerprint": baseline.fingerprint,
            "data": dict(baseline.data),
        },
        recipe=dict(record.recipe),
        sha256=_hashes(folder),
        code=code_version(),
        versions={"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
        card={} if now.task is None else dict(now.task.card),
        outputs="" if now.task is None else described_outputs(now.task),
        maximize=baseline.maximize,
        timed=_timed(folder, baseline, config.latency, now.task),
        changed=now.changed,
    )


def _hashes(folder: Path) -> dict[str, str]:
    present = (name for name in HASHED_FILES if (folder / name).exists())
    return {name: file_sha256(folder / name) for name in present}


def described_outputs(task: EvaluatedTask) -> str:
    """Return in words what the outputs of a task's model are."""
    return task.outputs.describe(task.outputs.select(task.outputs_like))


def _timed(
    folder: Path, baseline: Baseline, latency: LatencySettings, task: EvaluatedTask | None
) -> dict[str, Any]:
    """Return what a call takes on this machine."""
    if task is None:
        return {}
    found = measure_latency(folder / RUN_FORM, baseline.run_path, task.example, **asdict(latency))
    return {
        "cpu": cpu_model(),
        "latency_ms": found.latency_ms,
        "baseline_latency_ms": found.baseline_latency_ms,
    }
