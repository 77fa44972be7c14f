"""One recipe without a search: its model, measured beside the baseline."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from compressors.errors import InfeasibleError
from search.config.latency_settings import LARGEST, LatencySettings
from search.errors import ArtefactError, ConfigError, MeasurementError, StudyError
from search.recipe.recipe import Recipe, read_recipe
from search.recipe.validation import check_order
from search.study.terminal import Display
from search.tasks.loading import load_task
from search.trial.baseline import Baseline, measure_baseline
from search.trial.evaluate import Evaluation, Evaluator


def apply(arguments: Mapping[str, Any]) -> None:
    """Run one recipe, write its model and show its metrics beside the baseline's.

    Args:
        arguments: the composed configuration of `paredown apply`, and `task_name`, the option
            chosen in the group `task`.

    Raises:
        ConfigError: there is no recipe, its steps are in no legal order, or a setting is invalid.
        StudyError: the recipe gives no model to ship.
    """
    recipe = _checked_recipe(arguments["recipe_file"], arguments["trust"])
    latency = LatencySettings(**arguments["latency"])
    threads = arguments["threads"]
    if not 1 <= threads <= LARGEST["threads"]:
        raise ConfigError(
            f"threads must be a whole number in [1, {LARGEST['threads']}], got {threads}"
        )
    base = Path(arguments["runs_dir"]) / "apply" / arguments["task_name"]
    folder = Path(arguments["output"] or base / recipe.hash)
    torch.set_num_threads(threads)
    task = load_task(arguments["task"])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        baseline = measure_baseline(task, base / "baseline")
        found = Evaluator(task=task, baseline=baseline, latency=latency)(recipe, folder)
    except (InfeasibleError, ArtefactError, MeasurementError, FloatingPointError) as reason:
        raise StudyError(f"the recipe gives no model to ship: {reason}") from reason
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "metrics.json").write_text(json.dumps(dict(found.metrics), indent=2))
    display = Display()
    _show(display, found, baseline)
    display.say(f"{found.verdict}; written to {folder}")


def _checked_recipe(path: str | None, trusted: Collection[str]) -> Recipe:
    if path is None:
        raise ConfigError("apply needs a recipe: recipe=PATH of a recipe.yaml")
    recipe = read_recipe(Path(path), trusted)
    check_order({step.name: step.compressor() for step in recipe.steps})
    return recipe


def _show(display: Display, found: Evaluation, baseline: Baseline) -> None:
    """Print one line per metric, with the baseline's value where it has one."""
    for name, value in found.metrics.items():
        beside = f"   baseline {baseline.metrics[name]:g}" if name in baseline.metrics else ""
        display.say(f"{name:<36} {value:g}{beside}")
