"""The rank of each factorised layer, for one energy or for one budget of weights."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

from compressors.base import Task
from compressors.budget.level_allocation import Level, LevelChoice, allocate_levels
from compressors.budget.sensitivity import Change
from compressors.layers.factors import FactorisableLayer, Factors

PROBED_ENERGIES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
"""The energies whose ranks are probed in each layer, beside rank 1 and the layer as it is."""


def saving_rank(factors: Factors, energy: float) -> int | None:
    """Return the rank that keeps an energy, None where the pair has no fewer weights."""
    if energy == 1:
        return None
    rank = factors.rank(energy)
    return rank if factors.size(rank) < factors.full_size else None


def weights_at(factors: Factors, rank: int | None) -> int:
    """Return the number of weights of a layer at a rank, None for the layer as it is."""
    return factors.full_size if rank is None else factors.size(rank)


def ranks_by_sensitivity(
    model: nn.Module, task: Task, factors: Mapping[str, Factors], budget: float
) -> dict[str, int | None]:
    """Return the ranks of the least summed divergence within a budget of weights.

    The divergence of each layer at each probed rank is measured alone, once for a model; an
    integer programme chooses among them.

    Args:
        model: The model whose layers are truncated, in copies.
        task: The source of calibration data.
        factors: The decomposition of each layer, by the layer's name.
        budget: The greatest number of weights of all these layers together.

    Returns:
        The rank of each layer, None for one that stays as it is.

    Raises:
        InfeasibleError: the layers exceed the budget even at their smallest.
    """
    ranks = {name: _probed_ranks(found) for name, found in factors.items()}
    choice = LevelChoice(
        levels=[[_level(n, factors[n], rank) for rank in probed] for n, probed in ranks.items()],
        layers=list(ranks),
        budget=budget,
        unit="weights",
        name=f"low rank {ranks}",
    )
    return dict(zip(ranks, allocate_levels(model, task, choice), strict=True))


def _level(name: str, factors: Factors, rank: int | None) -> Level[int | None]:
    change = None if rank is None else _truncation(name, factors, rank)
    return Level(value=rank, size=float(weights_at(factors, rank)), change=change)


def _probed_ranks(factors: Factors) -> list[int | None]:
    """Return the probed ranks that save weights, ascending, and None for the layer as it is."""
    ranks = sorted({1, *(factors.rank(energy) for energy in PROBED_ENERGIES)})
    return [*(rank for rank in ranks if factors.size(rank) < factors.full_size), None]


def _truncation(name: str, factors: Factors, rank: int) -> Change:
    def truncate(model: nn.Module) -> None:
        layer = cast(FactorisableLayer, model.get_submodule(name))
        with torch.no_grad():
            layer.weight.copy_(factors.weight(rank))

    return truncate
