import itertools

import pytest
import torch

from compressors.budget.knapsack import allocate
from compressors.budget.per_layer import layer_value


@pytest.mark.parametrize("seed", range(12))
def test_the_choice_is_the_best_of_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 5, (5,), generator=generator).tolist()
    # Measured divergences span many orders of magnitude.
    costs = [(10 ** (7 * torch.rand(n, generator=generator) - 6)).tolist() for n in counts]
    sizes = [(torch.rand(n, generator=generator) * 10 ** (seed % 5)).tolist() for n in counts]
    least, most = sum(map(min, sizes)), sum(map(max, sizes))
    budget = least + 0.4 * (most - least)
    chosen = allocate(costs, sizes, budget)

    def total(levels: tuple[int, ...], of: list[list[float]]) -> float:
        return sum(values[level] for values, level in zip(of, levels, strict=True))

    fitting = [
        levels
        for levels in itertools.product(*map(range, counts))
        if total(levels, sizes) <= budget
    ]
    best = min(total(levels, costs) for levels in fitting)
    assert total(tuple(chosen), sizes) <= budget * (1 + 1e-9)
    assert total(tuple(chosen), costs) == pytest.approx(best, rel=1e-2)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_units_of_cost_and_size_do_not_matter(scale: float) -> None:
    costs = [[0.0, 3 * scale], [0.0, 1 * scale], [0.0, 2 * scale]]
    sizes = [[10 * scale, 1 * scale]] * 3
    assert allocate(costs, sizes, 12 * scale) == [0, 1, 1]


@pytest.mark.parametrize("shift", [-2.0, -3e-9, 5.0])
def test_only_differences_of_costs_within_a_layer_matter(shift: float) -> None:
    costs, sizes = [[0.0, 3.0], [0.0, 1.0], [0.0, 2.0]], [[10.0, 1.0]] * 3
    shifted = [[cost + shift for cost in costs[0]], *costs[1:]]
    assert allocate(shifted, sizes, 12) == allocate(costs, sizes, 12)


def test_costs_that_sum_below_each_single_one_have_a_solution() -> None:
    assert allocate([[-1e-9, 0.0], [-2e-9, 0.0]], [[2.0, 1.0]] * 2, 3.0) == [1, 0]


def test_a_budget_below_the_smallest_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least that of the smallest levels, got 4"):
        allocate([[0.0, 1.0], [0.0]], [[4.0, 3.0], [2.0]], 4.0)


def test_the_first_pattern_that_matches_counts() -> None:
    layers = {"fc1.*": 1, "fc*": 2}
    assert [layer_value(layers, n, 0) for n in ("fc1.weight", "fc2.weight", "conv")] == [1, 2, 0]
