"""The way of one trial: from a recipe to the figures measured on what would ship."""

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from compressors.base import Inputs, Selective
from compressors.errors import InfeasibleError
from compressors.models.fingerprint import fingerprint
from search.artefact.artefact import Artefact, predictor, write_artefact
from search.artefact.onnx_form.export import feeds
from search.config.latency_settings import LatencySettings
from search.errors import ConfigError, MeasurementError
from search.recipe.recipe import Recipe, recipe_from_data
from search.recipe.rungs import from_first_training, training_hash, without_training
from search.tasks.task import EvaluatedTask, load_task
from search.trial.estimates import figures_in_memory, figures_of_structure
from search.trial.latency import measure_latency, remembered_latency, verdict
from search.trial.model_counts import ModelCounts, achieved, count_macs, count_model
from search.trial.prefix_cache import PrefixCache, State, open_prefix_cache
from search.trial.scoring import Score, evaluate
from search.trial.screening import Screen, read_screen
from search.utils.files import write_atomically
from search.utils.seeds import derived_seed

HoldMachine = Callable[[], AbstractContextManager[None]]
FIGURES = "figures.json"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The uncompressed model as an artefact, with its figures: what trials are compared with."""

    folder: Path
    figures: Mapping[str, float]
    maximize: bool
    fingerprint: str
    """Digest of the model's weights and buffers."""

    @property
    def run_path(self) -> Path:
        """The baseline's own ONNX file."""
        return self.folder / "model.onnx"

    def drop(self, score: float) -> float:
        """Return how much worse a score is than the baseline's; negative if it is better."""
        gain = score - self.figures["score"]
        return -gain if self.maximize else gain


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one trial measured."""

    metrics: Mapping[str, float]
    verdict: str
    notes: str
    """Where the artefact could not follow the recipe; empty where it could."""


@dataclass(frozen=True, kw_only=True)
class Screened:
    """What was seen of one trial before it was measured in full."""

    recipe: Recipe
    """What is to be measured: the whole recipe, or what it had become where it was stopped."""
    stopped: str
    """Why nothing is to be measured; empty if something is."""
    notes: str
    """Why the recipe was cut short; empty if it was not."""
    digest: str
    """Of the untrained model and the training that shall come."""
    rungs: Sequence[Mapping[str, Any]]
    """The figures at each rung."""


def evaluate_recipe(
    recipe: Recipe,
    task: EvaluatedTask,
    baseline: Baseline,
    folder: Path,
    settings: LatencySettings,
    hold_machine: HoldMachine,
    prefixes: PrefixCache | None = None,
) -> Evaluation:
    """Run a recipe and measure its artefact on validation data, beside the baseline.

    Searching, replaying and exporting all come here, so that equal recipes give equal figures.

    Raises:
        InfeasibleError: a step finds nothing to act on.
        MeasurementError: a figure is missing or not finite.
    """
    model, achievements = compress(recipe, task, prefixes)
    artefact = write_artefact(model, task, folder)
    score = evaluate(predictor(artefact.run_path), task.validation, task)
    latency = remembered_latency(
        task.cache,
        artefact.run_path,
        baseline.run_path,
        lambda: measure_latency(
            artefact.run_path,
            baseline.run_path,
            task.example,
            hold_machine=hold_machine,
            **asdict(settings),
        ),
        {**asdict(settings), "inputs": [a.shape for a in feeds(task.example).values()]},
    )
    drop = baseline.drop(score.value)
    metrics = {
        **_figures(model, task.example, artefact, score),
        "score_drop": drop,
        "relative_drop": drop / abs(baseline.figures["score"]),
        "size_ratio": artefact.size_bytes / baseline.figures["run_bytes"],
        "latency_ms": latency.latency_ms,
        "latency_ratio": latency.ratio,
        "latency_spread": latency.spread,
        **achievements,
    }
    check_finite(metrics)
    size_ratio = artefact.size_bytes / baseline.figures["size_bytes"]
    return Evaluation(
        metrics=metrics, verdict=verdict(size_ratio, latency), notes="; ".join(artefact.notes)
    )


def compress(
    recipe: Recipe, task: EvaluatedTask, prefixes: PrefixCache | None = None
) -> tuple[nn.Module, dict[str, float]]:
    """Apply the steps in order; return the model and the shares that each step removed.

    With `prefixes` it goes on from the longest beginning of the recipe that is known there, and
    keeps what it computes. The result is the same.
    """
    done, known = prefixes.longest(recipe.steps) if prefixes else (0, None)
    model: nn.Module = known.model if known else task.baseline
    achievements = dict(known.achieved) if known else {}
    before: ModelCounts = count_model(model)
    for position, step in enumerate(recipe.steps[done:], done):
        began = time.perf_counter()
        torch.manual_seed(derived_seed(recipe.seed, position))
        model = step.compressor()(model, task)
        after = count_model(model)
        for name, share in achieved(before, after).items():
            achievements[f"achieved/{step.name}/{name}"] = share
        before = after
        if prefixes:
            state = State(model=model, achieved=dict(achievements))
            prefixes.keep(recipe.steps[: position + 1], state, time.perf_counter() - began)
    return model, achievements


def screen_trial(
    recipe: Recipe, task: EvaluatedTask, prefixes: PrefixCache, screen: Screen
) -> Screened:
    """Look at a trial without training, then with growing shares of it, and stop what is weak.

    Raises:
        InfeasibleError: a step finds nothing to act on.
    """
    without = without_training(recipe)
    trained = without != recipe
    first = figures_of_structure(compress(without, task, prefixes)[0], task)
    seen = [{"share": 0.0 if trained else 1.0, **first}]
    digest = f"{first['model']} {from_first_training(recipe).hash}"
    reason = screen.refusal(first, digest)
    found = Screened(recipe=recipe, stopped=reason, notes="", digest=digest, rungs=seen)
    # What comes after a training that is known already costs little: it is measured at once.
    if reason or screen.paid or not trained:
        return found
    for rung, share in enumerate(screen.rungs.shares[:-1]):
        cut = screen.rungs.at(recipe, rung)
        seen.append({"share": share, **figures_in_memory(compress(cut, task, prefixes)[0], task)})
        weak = screen.stop(seen[-1], rung)
        if weak and screen.futility(seen[-1]):
            return replace(found, stopped=weak)
        if weak:  # and yet maybe better than anything so far: its training was not in vain
            return replace(found, recipe=cut, notes=f"cut short: {weak}")
    return found


def measure_baseline(task: EvaluatedTask, folder: Path) -> Baseline:
    """Write the uncompressed model as an artefact, measure it and keep the figures."""
    artefact = write_artefact(task.baseline, task, folder)
    score = evaluate(predictor(artefact.run_path), task.validation, task)
    figures = _figures(task.baseline, task.example, artefact, score)
    check_finite(figures)
    kept: dict[str, Any] = {
        "figures": figures,
        "maximize": task.maximize,
        "fingerprint": fingerprint(task.baseline),
    }
    with write_atomically(folder / FIGURES) as file:
        file.write(json.dumps(kept).encode())
    return Baseline(folder=folder, **kept)


def read_baseline(task: EvaluatedTask, folder: Path) -> Baseline:
    """Read the figures that were kept of the baseline.

    Raises:
        ConfigError: the task's model is another one than when the baseline was measured.
    """
    kept = json.loads((folder / FIGURES).read_text())
    if kept["fingerprint"] != fingerprint(task.baseline):
        raise ConfigError(
            f"the task's model differs from the one measured in {folder}; build it from saved "
            "weights, so that it is the same every time, or start another study"
        )
    return Baseline(folder=folder, **kept)


def check_baseline(task: EvaluatedTask, folder: Path) -> Baseline:
    """Read the baseline's figures and measure its file again, to see that the task is the same.

    Raises:
        ConfigError: the model, the data, the loss or the score has changed since.
    """
    kept = read_baseline(task, folder)
    score = evaluate(predictor(kept.run_path), task.validation, task)
    same = all(np.isclose(value, kept.figures[n]) for n, value in score.figures().items())
    if not same or task.maximize != kept.maximize:
        raise ConfigError(
            f"the baseline in {folder} scored {kept.figures['score']:g} and now scores "
            f"{score.value:g}: the task's data, loss or score has changed; start another study"
        )
    return kept


def check_finite(metrics: Mapping[str, float]) -> None:
    """Raise `MeasurementError`, naming them, if any figures are not finite."""
    wrong = {name: value for name, value in metrics.items() if not np.isfinite(value)}
    if wrong:
        raise MeasurementError(f"not finite: {wrong}")


def _figures(
    model: nn.Module, example: Inputs, artefact: Artefact, score: Score
) -> dict[str, float]:
    held = count_model(model)
    return {
        **score.figures(),
        "size_bytes": artefact.size_bytes,
        "run_bytes": artefact.run_bytes,
        "fidelity_db": artefact.fidelity_db,
        "integer_operators": artefact.integer_operators,
        "macs": count_macs(model, example),
        "parameters": held.parameters,
        "nonzeros": held.nonzeros,
    }


def prepare_job(payload: Mapping[str, Any], hold_machine: HoldMachine) -> dict[str, Any]:
    """Measure the baseline and try each step on it; the first job of a study.

    Returns the baseline's figures and direction, and by step why it cannot act on this model, or
    on which layers of it. A study that was begun already keeps its baseline, which is only checked.
    """
    task = _task(payload)
    folder = Path(payload["baseline"])
    baseline = (check_baseline if payload["begun"] else measure_baseline)(task, folder)
    infeasible, failing = {}, {}
    skipped_layers: dict[str, dict[str, str]] = {}
    for name, recipe in payload["anchors"].items():
        try:
            alone = recipe_from_data(recipe)
            compress(alone, task)
            skipped_layers[name] = _left_as_they_are(alone, task)
        except InfeasibleError as reason:
            infeasible[name] = str(reason)
        except Exception as error:  # noqa: BLE001 - its own trials will fail, one by one
            traceback.print_exc()
            failing[name] = f"{type(error).__name__}: {error}"
    return {
        "figures": dict(baseline.figures),
        "maximize": baseline.maximize,
        "infeasible": infeasible,
        "failing": failing,
        "skipped_layers": skipped_layers,
    }


def _left_as_they_are(recipe: Recipe, task: EvaluatedTask) -> dict[str, str]:
    """Return by layer of the baseline why the steps of a recipe leave it."""
    left: dict[str, str] = {}
    for step in recipe.steps:
        compressor = step.compressor()
        if isinstance(compressor, Selective):
            left |= compressor.skipped_layers(task.baseline, task)
    return left


def trial_job(payload: Mapping[str, Any], hold_machine: HoldMachine) -> dict[str, Any]:
    """Screen one recipe and, unless it is stopped, evaluate it.

    Returns its metrics, verdict and notes, the recipe that was measured (None if none was), and
    what the screening saw.
    """
    task = _task(payload)
    recipe = recipe_from_data(payload["recipe"])
    baseline = read_baseline(task, Path(payload["baseline"]))
    folder = payload["prefixes"]
    prefixes = open_prefix_cache(Path(folder) if folder else None, task, recipe)
    screened = screen_trial(recipe, task, prefixes, read_screen(payload["screen"]))
    seen = {"stopped": screened.stopped, "digest": screened.digest, "rungs": screened.rungs}
    if screened.stopped:
        return {"metrics": {}, "verdict": "", "notes": "", "recipe": None, "training": "", **seen}
    found = evaluate_recipe(
        screened.recipe,
        task,
        baseline,
        Path(payload["folder"]),
        LatencySettings(**payload["latency"]),
        hold_machine,
        prefixes,
    )
    notes = "; ".join(note for note in (screened.notes, found.notes) if note)
    told = {"recipe": screened.recipe.to_data(), "training": training_hash(screened.recipe)}
    return {**asdict(found), "notes": notes, **told, **seen}


def score_job(payload: Mapping[str, Any], hold_machine: HoldMachine) -> dict[str, float]:
    """Score an artefact on one split, `validation` or `test`. Returns score, error and loss."""
    task = _task(payload)
    batches = task.test if payload["split"] == "test" else task.validation
    score = evaluate(predictor(Path(payload["artefact"])), batches, task)
    return score.figures()


def _task(payload: Mapping[str, Any]) -> EvaluatedTask:
    torch.set_num_threads(payload["torch_threads"])
    return load_task(payload["task"])
