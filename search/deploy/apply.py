"""One recipe without a search."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from compressors.errors import InfeasibleError
from search.config.latency_settings import LatencySettings
from search.errors import ArtefactError, ConfigError, MeasurementError, StudyError
from search.recipe.recipe import read_recipe
from search.recipe.validation import check_order
from search.study.terminal import Display
from search.tasks.loading import load_task
from search.trial.evaluate import evaluate_recipe, measure_baseline


def apply(arguments: Mapping[str, Any]) -> None:
    """Run one recipe and show its figures beside the baseline's."""
    if arguments["recipe_file"] is None:
        raise ConfigError("apply needs a recipe: recipe=PATH of a recipe.yaml")
    recipe = read_recipe(Path(arguments["recipe_file"]))
    check_order({step.name: step.compressor() for step in recipe.steps})
    settings = LatencySettings(**arguments["latency"])
    base = Path(arguments["runs_dir"]) / "apply" / arguments["task_name"]
    torch.set_num_threads(arguments["threads"])
    task = load_task(arguments["task"])
    folder = Path(arguments["output"] or base / recipe.hash)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        baseline = measure_baseline(task, base / "baseline")
        found = evaluate_recipe(recipe, task, baseline, folder, settings, nullcontext)
    except (InfeasibleError, ArtefactError, MeasurementError, FloatingPointError) as reason:
        raise StudyError(f"the recipe gives no model to ship: {reason}") from reason
    (folder / "recipe.yaml").write_text(recipe.to_yaml())
    (folder / "metrics.json").write_text(json.dumps(dict(found.metrics), indent=2))
    display = Display()
    for name, value in found.metrics.items():
        beside = f"   baseline {baseline.figures[name]:g}" if name in baseline.figures else ""
        display.say(f"{name:<36} {value:g}{beside}")
    display.say(f"{found.verdict}; written to {folder}")
