"""Writing one trial for deployment: model, recipe, evidence and model card, verified by reload."""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from search.artefact.model_files import MODEL_FILES, RUN_FORM, SHIP_FORM
from search.artefact.onnx_form.runtime import predictor
from search.artefact.packed_form import unpack
from search.deploy.evidence import Evidence, collect_evidence
from search.deploy.model_card import model_card
from search.deploy.selected_trial import (
    SelectedTrial,
    check_study,
    metrics_on_test,
    select_trial,
)
from search.deploy.verification import verify
from search.errors import ConfigError
from search.recipe.recipe import recipe_from_data
from search.tasks.free_axes import shapes_of_one
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.baseline import check_baseline
from search.trial.evaluate import Evaluator
from search.trial.scoring import evaluate
from search.trial_record import TrialRecord
from search.utils.trust import sign_folder

UNPACK = "unpack.py"
"""The first file of an export, by which its folder is known."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A trial that was written for deployment."""

    folder: Path
    record: TrialRecord
    test: Mapping[str, float]
    """score, score_standard_error and nll on the test set."""


def export_trial(
    folder: Path, expression: str | int, output: Path | None = None, trusted: Collection[str] = ()
) -> Export:
    """Write the trial of a study that an expression selects into a folder of its own.

    The artefact is the trial's own file where the study kept it, and is otherwise made again from
    the recipe. In both cases it is reloaded and measured, and rejected if the metrics differ.

    Args:
        folder: the study's folder.
        expression: a trial's number, or an expression as of `search.pareto.selection`.
        output: where to write; None: `export/trial-NNNN` in the study's folder.
        trusted: packages whose code may run because the study names it, if it is from elsewhere.

    Raises:
        ConfigError: the study names code that is not trusted, or files of something else are where
            to write.
        SelectionError: the expression selects no trial.
        StudyError: the exported file does not give the trial's metrics.
    """
    selected = select_trial(folder, expression)
    own = check_study(selected.config, selected.record, trusted)
    config, record = selected.config, selected.record
    target = output or folder / "export" / f"trial-{record.number:04d}"
    _prepare(target)
    task = load_task(config.task)
    torch.set_num_threads(config.threads)
    baseline = check_baseline(task, folder / "baseline")
    evaluator = Evaluator(task=task, baseline=baseline, latency=config.latency)
    _place_artefact(selected, evaluator, target)
    verify(target, record, task)
    test = _test_metrics(record, task, target)
    (target / "recipe.yaml").write_text(yaml.safe_dump(dict(record.recipe), sort_keys=False))
    evidence = collect_evidence(
        selected, baseline, test, target, input_shapes=shapes_of_one(task.example)
    )
    _write_documents(evidence, target)
    if own:
        sign_folder(target, own)
    return Export(folder=target, record=record, test=test)


def _prepare(target: Path) -> None:
    """Make the folder of an export, or take that of an earlier one, whole or not."""
    if target.exists() and any(target.iterdir()) and not (target / UNPACK).exists():
        raise ConfigError(
            f"{target} has files, and they are of no earlier export: give an empty folder or one "
            "that does not exist (output=...)"
        )
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(unpack.__file__, target / UNPACK)


def _place_artefact(selected: SelectedTrial, evaluator: Evaluator, target: Path) -> None:
    """Put the files of the model into the target folder, in place of those of an earlier export."""
    kept = selected.config.trial_folder(selected.record.number)
    if not all((kept / name).exists() for name in (RUN_FORM, SHIP_FORM)):
        evaluator(recipe_from_data(selected.record.recipe), target)
        return
    for name in MODEL_FILES:
        (target / name).unlink(missing_ok=True)
        if (kept / name).exists():
            shutil.copyfile(kept / name, target / name)


def _test_metrics(record: TrialRecord, task: EvaluatedTask, target: Path) -> dict[str, float]:
    """Return the study's metrics on the test set, which members of its front have, or new ones."""
    known = metrics_on_test(record)
    return (
        known
        or evaluate(predictor(target / RUN_FORM, task.outputs_like), task.test, task).metrics()
    )


def _write_documents(evidence: Evidence, target: Path) -> None:
    """Write evidence.json and the model card."""
    (target / "evidence.json").write_text(json.dumps(evidence.to_data(), indent=2))
    (target / "README.md").write_text(model_card(evidence, target / RUN_FORM))
