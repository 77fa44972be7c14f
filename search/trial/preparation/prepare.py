"""The first job of a study: what the baseline is, and what each step can do to it."""

import time
import traceback
from collections.abc import Callable

import torch

from compressors.base import Selective, Task
from compressors.errors import InfeasibleError, UnmatchedPatternError
from search.errors import ConfigError
from search.proposal.strength.damage import DamageCurve
from search.recipe.recipe import Recipe
from search.tasks.loading import load_task
from search.tasks.repeatability import repeatability_notes
from search.tasks.task import EvaluatedTask
from search.trial.baseline import check_baseline, measure_baseline
from search.trial.compress import compress
from search.trial.messages import JobSetting, PrepareReply, PrepareRequest
from search.trial.preparation.brief_task import BriefTask
from search.trial.preparation.chance import chance_notes
from search.trial.preparation.costs import measure_costs
from search.trial.preparation.damage_probe import damage_curve
from search.trial.tokens import tokens_per_example


def prepare(request: PrepareRequest, report: Callable[[str], None]) -> PrepareReply:
    """Measure the baseline and try each step on it.

    A study that was begun keeps its baseline, which is only checked.

    Args:
        request: The task, and the steps to try.
        report: Called with the name of each phase as it begins.
    """
    began = time.perf_counter()
    report("the task")
    task = built_task(request.setting)
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
        except UnmatchedPatternError as reason:
            raise ConfigError(f"steps.{name}.{reason}; mend the pattern or take it out") from reason
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
        notes=[
            *task.notes,
            *baseline.notes,
            *repeatability_notes(task),
            *chance_notes(task, baseline.metrics, maximize=baseline.maximize),
        ],
        outputs=task.outputs.describe(task.outputs.select(task.outputs_like)),
        tokens=tokens_per_example(task),
    )


def built_task(setting: JobSetting) -> EvaluatedTask:
    """Return the user's task, after torch was told how many threads it may use."""
    torch.set_num_threads(setting.threads)
    return load_task(setting.task)


def _skipped_layers(recipe: Recipe, task: Task) -> dict[str, str]:
    """Return by layer of the baseline why the steps of a recipe leave it."""
    skipped: dict[str, str] = {}
    for step in recipe.steps:
        compressor = step.compressor()
        if isinstance(compressor, Selective):
            skipped |= compressor.skipped_layers(task.baseline, task)
    return skipped
