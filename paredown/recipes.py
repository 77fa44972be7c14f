"""One recipe applied to a model, without a study."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from compressors.models.calibration import device_of, to_device
from compressors.models.plain import plain_model
from paredown.torch_state import as_in_a_trial
from search.recipe.recipe import Recipe, read_recipe, recipe_from_data
from search.recipe.validation import check_order
from search.tasks.loading import training_task
from search.tasks.task import EvaluatedTask
from search.trial.compress import compress


def apply_recipe(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    model: nn.Module,
    task: Any,
    *,
    threads: int = 1,
    trust: Collection[str] = (),
) -> nn.Module:
    """Compress a model by a recipe, with the seeds that a study uses.

    For the model, the data and the number of threads of a study the result is the study's own.

    Args:
        recipe: A recipe, its plain data as in recipe.yaml, or the path of a recipe.yaml.
        model: The trained model to compress and to learn from as the teacher; it is not changed.
        task: What the function or class of a task gives, or any mapping or object with `train` and
            `loss`; if it has a model of its own, that one is not used.
        threads: Threads that torch computes with; a study's `executor.threads`.
        trust: Packages whose compressors a recipe.yaml may name, beside our own.

    Returns:
        The compressed model, in eval mode and frozen: masks, codebooks and quantisers lie on the
        weights as parametrisations.

    Raises:
        ConfigError: the recipe or the task is unfit.
        InfeasibleError: a step finds nothing to act on.
    """
    wanted = _recipe(recipe, trust)
    check_order({step.name: step.compressor() for step in wanted.steps})
    with as_in_a_trial(threads):
        return compress(wanted, _task(model, task))[0]


def _recipe(recipe: Recipe | Mapping[str, Any] | str | Path, trust: Collection[str]) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, Mapping):
        return recipe_from_data(recipe)
    return read_recipe(Path(recipe), trust)


def _task(model: nn.Module, task: Any) -> EvaluatedTask:
    """Return a task with another model as its baseline."""
    if isinstance(task, EvaluatedTask):
        there = to_device(task.example, device_of(model))
        return replace(task, baseline=plain_model(model, there).model)
    return training_task(task, model)
