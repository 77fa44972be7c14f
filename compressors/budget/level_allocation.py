"""The level of each layer, by measured sensitivity within one budget for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from torch import nn

from compressors.base import Task
from compressors.budget.knapsack import allocate, fits
from compressors.budget.sensitivity import Change, sensitivity
from compressors.errors import InfeasibleError

T = TypeVar("T")
MAX_NAMED = 3
"""Layers that a message names at most."""


@dataclass(frozen=True, kw_only=True)
class Level(Generic[T]):
    """One of the levels to which a layer can be compressed."""

    value: T
    """The level itself: a bit-width, a share of zeros, a rank."""
    size: float
    """Size of the layer at this level, in the unit of the budget."""
    change: Change | None
    """Brings the layer of a copy to this level; None for the layer as it is, which costs 0."""


@dataclass(frozen=True, kw_only=True)
class LevelChoice(Generic[T]):
    """The levels that layers can have, and what all layers together may take."""

    levels: Sequence[Sequence[Level[T]]]
    """The levels of each layer."""
    layers: Sequence[str]
    """The name of each layer."""
    budget: float
    """Greatest sum of the sizes of the chosen levels."""
    unit: str
    """What sizes and the budget count, such as `weights`."""
    name: str
    """Identifies all changes and their values, see `sensitivity`."""
    ascending_cost: bool = False
    """Whether a level costs at least as much as the levels before it, noise aside."""


def allocate_levels(model: nn.Module, task: Task, choice: LevelChoice[T]) -> list[T]:
    """Return the level of each layer at which the summed divergence is least.

    The divergence of each layer at each level is measured alone, once for a model.

    Args:
        model: The model whose layers are changed, in copies.
        task: The source of calibration data.
        choice: The levels and the budget.

    Raises:
        InfeasibleError: The smallest levels together exceed the budget; nothing was measured.
    """
    sizes = [[level.size for level in levels] for levels in choice.levels]
    if not fits(sizes, choice.budget):
        raise InfeasibleError(_beyond(choice))
    changes = [level.change for levels in choice.levels for level in levels if level.change]
    measured = iter(sensitivity(model, task, changes, name=choice.name))
    costs = [[next(measured) if one.change else 0.0 for one in levels] for levels in choice.levels]
    if choice.ascending_cost:
        costs = [list(accumulate(ascending, max)) for ascending in costs]
    chosen = allocate(costs, sizes, choice.budget)
    return [levels[i].value for levels, i in zip(choice.levels, chosen, strict=True)]


def _beyond(choice: LevelChoice[T]) -> str:
    """Return in words that a budget is too small, and the layers that need most of it."""
    least = [min(level.size for level in levels) for levels in choice.levels]
    largest = sorted(zip(choice.layers, least, strict=True), key=lambda pair: -pair[1])[:MAX_NAMED]
    named = ", ".join(f"{name or 'the model'} {size:g}" for name, size in largest)
    return (
        f"{len(least)} layers need {sum(least):g} {choice.unit} at their smallest levels, the "
        f"budget is {choice.budget:g} (most: {named}); compress less, or give these layers values "
        "of their own with `layers`"
    )
