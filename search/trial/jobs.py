"""The jobs that a worker runs: plain data in, plain data out."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from search.artefact.onnx_form.runtime import predictor
from search.recipe.rungs import training_hash
from search.trial.baseline import read_baseline
from search.trial.evaluate import Evaluator, HoldMachine
from search.trial.messages import (
    PHASE,
    PrepareRequest,
    ScoreReply,
    ScoreRequest,
    TrialReply,
    TrialRequest,
)
from search.trial.prefix_cache import open_prefix_cache
from search.trial.preparation.prepare import built_task, prepare
from search.trial.scoring import evaluate
from search.trial.screening import Screened, screen_trial
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


def run_trial(request: TrialRequest, hold_machine: HoldMachine) -> TrialReply:
    """Screen a recipe and, unless it is stopped, evaluate it."""
    task = built_task(request.setting)
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
    task = built_task(request.setting)
    batches = task.test if request.split == "test" else task.validation
    found = evaluate(predictor(request.artefact, task.outputs_like), batches, task)
    if request.samples is not None and found.samples is not None:
        with write_atomically(request.samples) as file:
            np.save(file, found.samples.numpy())
    return ScoreReply(**found.metrics())


def _reply(screened: Screened, **measured: Any) -> TrialReply:
    return TrialReply(digest=screened.digest, rungs=screened.rungs, **measured)
