"""Writing one trial for deployment: model, recipe, evidence and model card, verified by reload."""

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from search.artefact.artefact import predictor
from search.artefact.packed_form import unpack
from search.config.latency_settings import LatencySettings
from search.config.study_config import StudyConfig, read_config
from search.deploy.model_card import model_card
from search.errors import StudyError
from search.pareto.front import pareto_front
from search.pareto.selection import select
from search.recipe.recipe import recipe_from_data
from search.study.journal import read_store
from search.tasks.task import EvaluatedTask, load_task
from search.trial.evaluate import Baseline, check_baseline, evaluate_recipe
from search.trial.scoring import Score, evaluate
from search.trial_record import TrialRecord
from search.utils.provenance import code_version

REBUILT_MEASURES = ("score", "nll", "size_bytes", "run_bytes")
"""Figures that a trial's artefact must give again, whenever and wherever it is measured."""
LIBRARIES = (
    "torch",
    "onnx",
    "onnxruntime",
    "numpy",
    "constriction",
    "torch-pruning",
    "scikit-learn",
)


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written."""

    folder: Path
    record: TrialRecord
    test: Mapping[str, float]
    """score, score_standard_error and nll on the test set."""


def export_trial(folder: Path, expression: str, output: Path | None = None) -> Export:
    """Write the trial of a study that an expression selects into a folder of its own.

    The artefact is the trial's own file where the study kept it, and is otherwise made again from
    the recipe. Either way it is reloaded and measured, and refused if the figures differ.

    Arguments:
        folder: the study's folder.
        expression: `knee`, or `max|min METRIC [where ...]`.
        output: where to write; `export/<trial>` in the study's folder unless given.

    Raises:
        SelectionError: the expression names no trial.
        StudyError: the exported file does not give the trial's figures.
    """
    config = read_config(folder)
    records = read_store(folder, config.objectives).records()
    record = select(records, config.objectives, expression, config.preferences.weights)
    target = output or folder / "export" / f"trial-{record.number:04d}"
    target.mkdir(parents=True, exist_ok=True)
    task = load_task(config.task)
    torch.set_num_threads(config.threads)
    baseline = check_baseline(task, folder / "baseline")
    _place_artefact(record, config, task, baseline, target)
    validation = evaluate(predictor(target / "model.onnx"), task.validation, task)
    _verify(record, target, validation)
    test = _test_figures(record, target, task)
    shutil.copyfile(unpack.__file__, target / "unpack.py")
    (target / "recipe.yaml").write_text(yaml.safe_dump(dict(record.recipe), sort_keys=False))
    evidence = _evidence(config, record, records, baseline, test, expression, target)
    (target / "evidence.json").write_text(json.dumps(evidence, indent=2))
    (target / "README.md").write_text(model_card(evidence, target / "model.onnx"))
    return Export(folder=target, record=record, test=test)


def _place_artefact(
    record: TrialRecord,
    config: StudyConfig,
    task: EvaluatedTask,
    baseline: Baseline,
    target: Path,
) -> None:
    """Put model.onnx and model.packed into the target folder."""
    kept = config.trial_folder(record.number)
    names = ("model.onnx", "model.packed")
    if all((kept / name).exists() for name in names):
        for name in names:
            shutil.copyfile(kept / name, target / name)
        return
    settings = LatencySettings(**config.latency)
    evaluate_recipe(recipe_from_data(record.recipe), task, baseline, target, settings, nullcontext)


def _test_figures(record: TrialRecord, target: Path, task: EvaluatedTask) -> dict[str, float]:
    """Return the test figures: those of the study for a member of its front, else new ones."""
    kept = _kept_test(record)
    return kept or evaluate(predictor(target / "model.onnx"), task.test, task).figures()


def _kept_test(record: TrialRecord) -> dict[str, float]:
    """Return the test figures that the study measured of a trial; nothing if it did not."""
    found = {n: v for n, v in record.metrics.items() if n.startswith("test_")}
    return {name.removeprefix("test_"): value for name, value in found.items()}


def _verify(record: TrialRecord, target: Path, validation: Score) -> None:
    """Check that the exported files are the ones that were measured."""
    found = {
        "score": validation.value,
        "nll": validation.nll,
        "size_bytes": (target / "model.packed").stat().st_size,
        "run_bytes": (target / "model.onnx").stat().st_size,
    }
    for name in REBUILT_MEASURES:
        wanted = record.metrics[name]
        if abs(found[name] - wanted) > 1e-6 * max(1.0, abs(wanted)):
            raise StudyError(
                f"trial {record.number} was measured with {name}={wanted:g}, but the exported "
                f"file gives {found[name]:g}: not exported; see {target}"
            )
    unpacked = unpack.unpack((target / "model.packed").read_bytes())
    if unpacked != (target / "model.onnx").read_bytes():
        raise StudyError(f"{target / 'model.packed'} does not unpack to model.onnx: not exported")


def _evidence(
    config: StudyConfig,
    record: TrialRecord,
    records: list[TrialRecord],
    baseline: Baseline,
    test: Mapping[str, float],
    expression: str,
    target: Path,
) -> dict[str, Any]:
    """Return what is known of the exported model, as plain data."""
    front = [member.number for member in pareto_front(records, config.objectives)]
    return {
        "study": config.study,
        "trial": record.number,
        "select": expression,
        "front": front,
        "front_position": front.index(record.number) + 1 if record.number in front else None,
        "objectives": dict(config.objectives),
        "constraints": [str(constraint) for constraint in config.constraints],
        "verdict": record.verdict,
        "notes": record.notes,
        "validation": {n: v for n, v in record.metrics.items() if not n.startswith("test_")},
        "test": dict(test),
        "baseline_test": _kept_test(records[0]),
        "baseline": dict(baseline.figures),
        "latency": dict(config.latency),
        "built_from": {
            "task": dict(config.task),
            "threads": config.threads,
            "baseline_fingerprint": baseline.fingerprint,
        },
        "recipe": dict(record.recipe),
        "sha256": _hashes(target),
        "code": code_version(),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in LIBRARIES},
    }


def _hashes(folder: Path) -> Mapping[str, str]:
    names = ("model.onnx", "model.packed", "recipe.yaml", "unpack.py")
    return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
