"""Applying the steps of a recipe in order."""

import time

import torch
from torch import nn

from compressors.base import Task
from compressors.kinds import CompressorKind
from search.recipe.recipe import Recipe
from search.trial.model_counts import ModelCounts, achieved, count_model, weights_moved
from search.trial.prefix_cache import PrefixCache, State
from search.utils.seeds import derived_seed


def compress(
    recipe: Recipe, task: Task, prefixes: PrefixCache | None = None
) -> tuple[nn.Module, dict[str, float]]:
    """Apply the steps in order to the task's baseline.

    Args:
        recipe: Its seed and the place of a step seed torch's generator before the step.
        task: Gives the baseline and the data.
        prefixes: Models after the first steps of recipes. The longest known beginning of the
            recipe is taken from there, and new ones are kept. The result is the same without.

    Returns:
        The model, and by `achieved/<step>/<count>` the share that the step removed, and how far a
        recovery moved the weights.

    Raises:
        InfeasibleError: a step finds nothing to act on.
    """
    done, known = prefixes.longest(recipe.steps) if prefixes else (0, None)
    model: nn.Module = known.model if known else task.baseline
    achievements = dict(known.achieved) if known else {}
    before: ModelCounts = count_model(model)
    for position, step in enumerate(recipe.steps[done:], done):
        began = time.perf_counter()
        torch.manual_seed(derived_seed(recipe.seed, position))
        compressor, given = step.compressor(), model
        model = compressor(given, task)
        after = count_model(model)
        for name, share in achieved(before, after).items():
            achievements[f"achieved/{step.name}/{name}"] = share
        if compressor.kind is CompressorKind.RECOVERS:
            achievements[f"achieved/{step.name}/weights_moved"] = weights_moved(given, model)
        before = after
        if prefixes:
            state = State(model=model, achieved=dict(achievements))
            prefixes.keep(recipe.steps[: position + 1], state, time.perf_counter() - began)
    return model, achievements
