from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from compressors.budget.level_allocation import Level, LevelChoice, allocate_levels
from compressors.budget.sensitivity import Change
from compressors.errors import InfeasibleError
from tests.zoo import toy_task


def shrunk(name: str, factor: float) -> Change:
    def change(model: nn.Module) -> None:
        with torch.no_grad():
            model.get_parameter(name).mul_(factor)

    return change


def levels(name: str, *factors: float) -> list[Level[str]]:
    """Levels whose size is the factor, with the layer as it is at the end."""
    probed = [Level(value=f"{name} {f:g}", size=f, change=shrunk(name, f)) for f in factors]
    return [*probed, Level(value=f"{name} as it is", size=1.0, change=None)]


def choice(budget: float) -> LevelChoice[str]:
    names = [name for name, _ in toy_task("mlp").baseline.named_parameters() if "weight" in name]
    return LevelChoice(
        levels=[levels(name, 0.0, 0.9) for name in names[:2]],
        layers=names[:2],
        budget=budget,
        unit="weights",
        name="shrunk",
    )


def test_layers_stay_as_they_are_within_a_wide_budget() -> None:
    task = toy_task("mlp")
    chosen = allocate_levels(task.baseline, task, choice(2.0))
    assert all(value.endswith("as it is") for value in chosen)


def test_the_cheapest_levels_within_the_budget_are_chosen() -> None:
    task = toy_task("mlp")
    chosen = allocate_levels(task.baseline, task, choice(1.8))
    assert all(value.endswith("0.9") for value in chosen)


@pytest.mark.parametrize(("ascending", "expected"), [(False, [0, 2]), (True, [2, 0])])
def test_a_cost_that_must_ascend_is_never_below_an_earlier_one(
    ascending: bool, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = toy_task("mlp")
    divergences = np.array([0.0, 5.0, 1.0, 0.0, 2.0, 4.0])
    monkeypatch.setattr(task, "measured", lambda *_: {"divergence": divergences})
    sizes = [Level(value=n, size=n, change=lambda _: None) for n in (2, 1, 0)]
    noisy = LevelChoice(
        levels=[sizes] * 2,
        layers=["a", "b"],
        budget=2,
        unit="weights",
        name="noisy",
        ascending_cost=ascending,
    )
    assert allocate_levels(task.baseline, task, noisy) == expected


def test_only_changes_are_measured_and_under_the_name_of_the_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = toy_task("mlp")
    seen = {}

    def measured(
        key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> Mapping[str, NDArray[Any]]:
        seen[key] = measure()
        return seen[key]

    monkeypatch.setattr(task, "measured", measured)
    allocate_levels(task.baseline, task, choice(2.0))
    ((key, found),) = seen.items()
    assert key.startswith("sensitivity shrunk ")
    assert len(found["divergence"]) == 4


def test_a_budget_below_the_smallest_levels_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = toy_task("mlp")
    monkeypatch.setattr(task, "measured", lambda *_: pytest.fail("measured"))
    wide = choice(1.0)
    few = replace(wide, levels=[[one for one in of if one.size > 0.5] for of in wide.levels])
    expected = rf"2 layers need 1\.8 weights .* the budget is 1 \(most: {few.layers[0]} 0\.9, "
    with pytest.raises(InfeasibleError, match=expected):
        allocate_levels(task.baseline, task, few)


def test_divergences_below_0_by_rounding_do_not_make_a_budget_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = toy_task("mlp")
    rounded = np.array([2e-9, -1e-9, 1e-9, -3e-9])
    monkeypatch.setattr(task, "measured", lambda *_: {"divergence": rounded})
    chosen = allocate_levels(task.baseline, task, choice(1.8))
    assert [value.split()[1] for value in chosen] == ["0.9", "0.9"]
