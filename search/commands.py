"""What each command does once its configuration is checked."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from compressors.base import InfeasibleError
from search.artefact import ArtefactError
from search.check_space import check_order
from search.config import StudyConfig, read_config
from search.counts import MeasurementError
from search.display import Display
from search.errors import ConfigError, StudyError
from search.executors.base import Executor
from search.export import export_trial
from search.recipe import read_recipe
from search.report import front_table
from search.result import StudyResult, baseline_of, draw, study_result
from search.store import read_store
from search.study import run_study
from search.task import load_task
from search.trial import LatencySettings, evaluate_recipe, measure_baseline


def search(config: StudyConfig, executor: Executor) -> None:
    """Launch a study or go on with it, and show its front."""
    display = Display()
    result = run_study(config, executor, display)
    _show_front(display, result)
    volume = max(result.history.values())
    display.say(f"hypervolume {volume:.4f} (1 is the baseline's score at no cost)")
    display.say(f"picture     {result.folder / 'front.html'} and front.png")
    display.say(f"tables      {result.folder / 'trials.parquet'} and trials.csv")
    display.say(f"export      paredown export study={config.study} select=knee")
    if result.links:
        display.say(f"MLflow      paredown ui runs_dir={config.runs_dir}, then")
    for what, address in result.links.items():
        display.say(f"  {what:<9} {address}")


def front(folder: Path) -> None:
    """Show the front of a study as it stands, and draw its pictures again."""
    config = read_config(folder)
    display = Display()
    result = study_result(config, read_store(folder, config.objectives).records())
    _show_front(display, result)
    for path in draw(config, result):
        display.say(str(path))


def export(folder: Path, expression: str, output: str | None) -> None:
    """Write the selected trial for deployment."""
    done = export_trial(folder, expression, Path(output) if output else None)
    metrics = done.record.metrics
    display = Display()
    display.say(
        f"trial {done.record.number}: score {metrics['score']:.4f} on validation, "
        f"{done.test['score']:.4f} ± {done.test['score_standard_error']:.4f} on test, "
        f"{metrics['size_bytes']:.0f} bytes packed, latency {metrics['latency_ratio']:.2f}x"
    )
    display.say(f"verified by reloading; written to {done.folder}")


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


def _show_front(display: Display, result: StudyResult) -> None:
    baseline = baseline_of(result.records)
    if baseline is None:
        raise StudyError(f"{result.folder} has no measured baseline yet: run the search on")
    numbers = [record.number for record in result.front]
    display.console.print(front_table(result.records, numbers, baseline))
