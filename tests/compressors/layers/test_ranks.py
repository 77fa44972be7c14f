"""Ranks within a budget of weights."""

import pytest
import torch
from torch import nn

from compressors.budget.sensitivity import sensitivity
from compressors.layers.factorisable import factorisable_layers
from compressors.layers.factors import factors_of
from compressors.layers.ranks import ranks_by_sensitivity
from tests.compressors.layers.decaying import decaying
from tests.zoo import toy_task


@pytest.mark.parametrize("net", ["residual", "mlp"])
def test_ranks_by_sensitivity_keep_the_budget_and_are_best_of_all(net: str) -> None:
    task = toy_task(net)
    model = decaying(task.baseline)
    found = factorisable_layers(model, task.example)
    names = list(found)[-2:]
    factors = {name: factors_of(found[name]) for name in names}
    budget = 0.6 * sum(f.full_size for f in factors.values())
    chosen = ranks_by_sensitivity(model, task, factors, budget)

    def cost(name: str, rank: int | None) -> float:
        def change(copy: nn.Module) -> None:
            if rank is not None:
                copy.get_submodule(name).weight.copy_(factors[name].weight(rank))

        with torch.no_grad():
            return sensitivity(model, task, [change])[0]

    def size(name: str, rank: int | None) -> int:
        return factors[name].full_size if rank is None else factors[name].size(rank)

    first, second = names
    options = {n: [1, 2, 3, None] for n in names}  # with halving values, all that the ladder has
    pairs = [
        cost(first, a) + cost(second, b)
        for a in options[first]
        for b in options[second]
        if size(first, a) + size(second, b) <= budget
    ]
    assert sum(size(*item) for item in chosen.items()) <= budget
    assert sum(cost(*item) for item in chosen.items()) <= min(pairs) * 1.01 + 1e-9
