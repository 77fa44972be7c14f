"""The jobs that a worker runs: plain data in, plain data out."""

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from compressors.base import Selective, Task
from compressors.errors import InfeasibleError
from search.artefact.onnx_form.runtime import predictor
from search.proposal.strength.damage import DamageCurve
from search.recipe.recipe import Recipe
from search.recipe.rungs import training_hash
from search.tasks.loading import load_task
from search.tasks.repeatability import repeatability_notes
from search.tasks.task import EvaluatedTask
from search.trial.baseline import check_baseline, measure_baseline, read_baseline
from search.trial.brief_task import BriefTask
from search.trial.compress import compress
from search.trial.costs import measure_costs
from search.trial.damage_probe import damage_curve
from search.trial.evaluate import Evaluator, HoldMachine
from search.trial.messages import (
    PHASE,
    JobSetting,
    PrepareReply,
    PrepareRequest,
    ScoreReply,
    ScoreRequest,
    TrialReply,
    TrialRequest,
)
from search.trial.prefix_cache import open_prefix_cache
from search.trial.scoring import evaluate
from search.trial.screening import Screened, screen_trial
from search.trial.tokens import tokens_per_example
from search.utils.files import write_atomically


def prepare_job(data: Mapping[str, Any], hold_machine: HoldMachine) -> dict[str, Any]:
    """Answer a `PrepareRequest`, the first job of a study."""
    request = PrepareRequest.from_data(data)
    return prepare(request, lambda phase: print(f"{PHASE}{phase}", flush=True)).to_data()


def trial_job(data: Mapping[str, Any], hold_machine: HoldMachine) -> dict[str, Any]:
    """Answer a `TrialRequest`."""
    return run_trial(TrialRequest.from_data(data), hold_machine).to_data()


def score_job(data: Mapping[str, Any], hold_machine: HoldMachine) -> dict[str, float]:
    """Answer a `ScoreRequest`."""
    return score(ScoreRequest.from_data(data)).to_data()


def prepare(request: PrepareRequest, report: Callable[[str], None]) -> PrepareReply:
    """Measure the baseline and try each step on it.

    A study that was begun keeps its baseline, which is only checked.

    Args:
        request: The task, and the steps to try.
        report: Called with the name of each phase as it begins.
    """
    began = time.perf_counter()
    report("the task")
    task = _task(request.setting)
    report("the baseline")
    look_at = check_baseline if request.begun else measure_baseline
    baseline = look_at(task, request.setting.baseline)
    costs = None if request.begun else measure_costs(task, time.perf_counter() - began)
    brief = BriefTask(task=task)
    infeasible, failing = {}, {}
    skipped: dict[str, dict[str, str]] = {}
    damage: dict[str, DamageCurve] = {}
    for name, recipe in request.anchors.items():
        report(f"step '{name}'")
        try:
            if name in request.probes:
                damage[name] = damage_curve(request.probes[name], brief)
            else:
                compress(recipe, brief)
            skipped[name] = _skipped_layers(recipe, brief)
        except InfeasibleError as reason:
            infeasible[name] = str(reason)
        except Exception as error:  # noqa: BLE001 - its own trials will fail, one by one
            traceback.print_exc()
            failing[name] = f"{type(error).__name__}: {error}"
    return PrepareReply(
        metrics=baseline.metrics,
        maximize=baseline.maximize,
        infeasible=infeasible,
        failing=failing,
        skipped_layers=skipped,
        damage=damage,
        costs=costs,
        notes=[*task.notes, *baseline.notes, *repeatability_notes(task)],
        outputs=task.outputs.describe(task.outputs.select(task.outputs_like)),
        tokens=tokens_per_example(task),
    )


def run_trial(request: TrialRequest, hold_machine: HoldMachine) -> TrialReply:
    """Screen a recipe and, unless it is stopped, evaluate it."""
    task = _task(request.setting)
    baseline = read_baseline(task, request.setting.baseline)
    prefixes = open_prefix_cache(request.prefix_folder, task, request.recipe.seed)
    screened = screen_trial(request.recipe, task, prefixes, request.screen)
    if screened.stopped:
        return _reply(screened, metrics={}, stopped=screened.stopped)
    evaluator = Evaluator(
        task=task,
        baseline=baseline,
        latency=request.setting.latency,
        hold_machine=hold_machine,
        prefixes=prefixes,
    )
    found = evaluator(screened.recipe, request.folder)
    return _reply(
        screened,
        metrics=found.metrics,
        verdict=found.verdict,
        notes="; ".join(note for note in (screened.notes, found.notes) if note),
        recipe=screened.recipe,
        training=training_hash(screened.recipe),
    )


def score(request: ScoreRequest) -> ScoreReply:
    """Score an artefact on one split of the task's data; keep the score of each example."""
    task = _task(request.setting)
    batches = task.test if request.split == "test" else task.validation
    found = evaluate(predictor(request.artefact, task.outputs_like), batches, task)
    if request.samples is not None and found.samples is not None:
        with write_atomically(request.samples) as file:
            np.save(file, found.samples.numpy())
    return ScoreReply(**found.metrics())


def _reply(screened: Screened, **measured: Any) -> TrialReply:
    return TrialReply(digest=screened.digest, rungs=screened.rungs, **measured)


def _skipped_layers(recipe: Recipe, task: Task) -> dict[str, str]:
    """Return by layer of the baseline why the steps of a recipe leave it."""
    skipped: dict[str, str] = {}
    for step in recipe.steps:
        compressor = step.compressor()
        if isinstance(compressor, Selective):
            skipped |= compressor.skipped_layers(task.baseline, task)
    return skipped


def _task(setting: JobSetting) -> EvaluatedTask:
    torch.set_num_threads(setting.threads)
    return load_task(setting.task)
