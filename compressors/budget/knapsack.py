"""A budget divided among layers at the least total cost: a multiple-choice knapsack."""

from collections.abc import Sequence

import numpy as np

from compressors.errors import InfeasibleError

ALLOCATIONS = ("uniform", "global", "sensitivity")
RELATIVE_GAP = 1e-4
"""The solver stops when the cost is proved to be within this share of the optimum."""


def allocate(
    costs: Sequence[Sequence[float]], sizes: Sequence[Sequence[float]], budget: float
) -> list[int]:
    """Choose one level for each layer, at the least total cost within a budget.

    The integer programme is solved by HiGHS (Huangfu & Hall, 2018,
    doi:10.1007/s12532-017-0130-5).

    Args:
        costs: The finite cost of each level of each layer; only differences within a layer matter.
        sizes: The size of each level of each layer.
        budget: The greatest sum of the chosen sizes, in their unit.

    Returns:
        The position of the chosen level of each layer.

    Raises:
        ValueError: even the smallest levels together exceed the budget, see `fits`.
        InfeasibleError: the solver gives up.
    """
    if not fits(sizes, budget):
        raise ValueError(f"budget must be at least that of the smallest levels, got {budget:g}")
    # A measured cost may be a rounding error below 0, and a sum of such costs below a single one.
    costs = [[cost - min(levels) for cost in levels] for levels in costs]
    chosen = _solve(costs, sizes, budget, [max(levels) for levels in costs])
    # The solver's tolerances are absolute. A level that alone costs more than a known solution is
    # in no better one; without such levels the scale is that of the solution.
    total = sum(levels[level] for levels, level in zip(costs, chosen, strict=True))
    return _solve(costs, sizes, budget, [total] * len(costs))


def fits(sizes: Sequence[Sequence[float]], budget: float) -> bool:
    """Tell whether the smallest levels of all layers together are within a budget."""
    return sum(map(min, sizes)) <= budget * (1 + 1e-9)


def _solve(
    costs: Sequence[Sequence[float]],
    sizes: Sequence[Sequence[float]],
    budget: float,
    limits: Sequence[float],
) -> list[int]:
    """Return the levels of least total cost, of those whose cost is at most the layer's limit."""
    # Importing it takes half a second, which reading a configuration does not need.
    from scipy.optimize import Bounds, LinearConstraint, milp

    counts = [len(levels) for levels in costs]
    allowed = [
        np.asarray(levels) <= limit + 1e-12 * abs(limit)
        for levels, limit in zip(costs, limits, strict=True)
    ]
    open_ = np.concatenate(allowed)
    flat_costs = np.where(open_, np.concatenate(costs), 0.0)
    scale = max(float(np.abs(flat_costs).max()), np.finfo(float).tiny)
    one_level = np.repeat(np.eye(len(counts)), counts, axis=1)
    solution = milp(
        flat_costs / scale,
        integrality=np.ones(len(flat_costs)),
        bounds=Bounds(0, open_.astype(float)),
        constraints=[
            LinearConstraint(one_level, 1, 1),
            LinearConstraint(np.concatenate(sizes)[None] / budget, -np.inf, 1 + 1e-9),
        ],
        options={"mip_rel_gap": RELATIVE_GAP},
    )
    if solution.x is None:
        raise InfeasibleError(
            f"the solver (HiGHS status {solution.status}) found no levels of {len(counts)} layers "
            f"within the budget of {budget:g}, though the smallest levels fit; choose "
            "allocation=uniform, which needs no solver"
        )
    return [int(x.argmax()) for x in np.split(solution.x, np.cumsum(counts)[:-1])]
