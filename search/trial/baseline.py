"""The uncompressed model as an artefact, with its metrics: what trials are compared with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compressors.models.calibration import few
from compressors.models.fingerprint import fingerprint
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.bit_operations import bit_operations
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.runtime import predictor
from search.errors import ConfigError
from search.tasks.data_identity import FIRST, changed_data, data_identity
from search.tasks.free_axes import FreeAxes
from search.tasks.task import EvaluatedTask
from search.trial.artefact_metrics import artefact_metrics, check_finite
from search.trial.scoring import Score, evaluate
from search.utils.files import write_atomically

FIGURES = "figures.json"
"""The file beside the baseline's artefact that keeps its metrics and fingerprint."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The baseline's folder, its metrics, and the direction of the score."""

    folder: Path
    metrics: Mapping[str, float]
    maximize: bool
    """True if a higher score is better."""
    fingerprint: str
    """Digest of the model's weights and buffers."""
    free_axes: FreeAxes
    """The axes of the inputs that are free in its file, and so in those of all trials."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What identifies the training data and the test set; empty if an earlier version began."""
    notes: tuple[str, ...] = ()
    """What is to be known of the score, or has changed since it was measured, one clause each."""

    @property
    def run_path(self) -> Path:
        """The baseline's own ONNX file."""
        return self.folder / "model.onnx"

    def drop(self, score: float) -> float:
        """Return how much worse a score is than the baseline's; negative if it is better."""
        gain = score - self.metrics["score"]
        return -gain if self.maximize else gain


def measure_baseline(task: EvaluatedTask, folder: Path) -> Baseline:
    """Write the uncompressed model as an artefact, measure it and keep the metrics."""
    artefact = write_artefact(task.baseline, task, folder, task.free_axes)
    score = evaluate(predictor(artefact.run_path, task.outputs_like), task.validation, task)
    metrics = artefact_metrics(task.baseline, task.example, artefact, score)
    check_finite(metrics)
    baseline = Baseline(
        folder=folder,
        metrics=metrics,
        maximize=task.maximize,
        fingerprint=fingerprint(task.baseline),
        free_axes=task.free_axes,
        data=data_identity(task),
        notes=_notes(score),
    )
    kept = {
        "figures": metrics,
        "maximize": baseline.maximize,
        "fingerprint": baseline.fingerprint,
        "free_axes": baseline.free_axes,
        "data": baseline.data,
    }
    with write_atomically(folder / FIGURES) as file:
        file.write(json.dumps(kept).encode())
    return baseline


def _notes(score: Score) -> tuple[str, ...]:
    zero = "the baseline scores 0: relative_drop is the drop of the score itself"
    return tuple(note for note in (score.note, "" if score.value else zero) if note)


def read_baseline(task: EvaluatedTask, folder: Path) -> Baseline:
    """Read the metrics that were kept of the baseline.

    Raises:
        ConfigError: the task's model differs from the one whose metrics were kept.
    """
    found = kept_baseline(folder)
    if found.fingerprint != fingerprint(task.baseline):
        raise ConfigError(
            f"the task's model differs from the one measured in {folder}; build it from saved "
            "weights, or seed all that it draws, so that it is the same every time, or start "
            "another study"
        )
    metrics = dict(found.metrics)
    if "bops" not in metrics:  # a study of 0.1.0
        graph = onnx.load(folder / "model.onnx")
        metrics["bops"] = bit_operations(graph, feeds(few(task.example)))
    return replace(found, metrics=metrics, free_axes=found.free_axes or task.free_axes)


def kept_baseline(folder: Path) -> Baseline:
    """Read what was kept of the baseline, whatever the task is now."""
    kept = json.loads((folder / FIGURES).read_text())
    return Baseline(
        folder=folder,
        metrics=kept["figures"],
        maximize=kept["maximize"],
        fingerprint=kept["fingerprint"],
        free_axes=_kept_axes(kept),
        data=kept.get("data", {}),
    )


def _kept_axes(kept: Mapping[str, Any]) -> FreeAxes:
    """Return the free axes of a baseline, none if it was measured before they were kept."""
    return {
        name: {int(axis): symbol for axis, symbol in axes.items()}
        for name, axes in kept.get("free_axes", {}).items()
    }


def check_baseline(task: EvaluatedTask, folder: Path) -> Baseline:
    """Read the baseline's metrics and score its file again, to see that the task is the same.

    Raises:
        ConfigError: the model, the data, the loss or the score has changed since.
    """
    kept = read_baseline(task, folder)
    changed = changed_data(task, kept.data)
    if changed:
        raise ConfigError(
            f"{changed} when {folder} was measured, so that its trials could not be compared; take "
            "the same data again, or give a new study a name (study=...)"
        )
    score = evaluate(predictor(kept.run_path, task.outputs_like), task.validation, task)
    same = all(np.isclose(value, kept.metrics[n]) for n, value in score.metrics().items())
    if not same or task.maximize != kept.maximize:
        raise ConfigError(
            f"the baseline in {folder} scored {kept.metrics['score']:g} and now scores "
            f"{score.value:g}: the task's data, loss or score has changed; make them the "
            "same every time, with a seed for all that is drawn, or start another study"
        )
    return replace(kept, notes=_data_notes(task, kept))


def _data_notes(task: EvaluatedTask, kept: Baseline) -> tuple[str, ...]:
    if kept.data.get(FIRST) in (None, task.data_digest):
        return ()
    return (
        "the first training batches differ from those of the first build: seed what draws them, or "
        "no trial can be repeated",
    )
