"""A study divides its time: short recoveries to explore, long ones at its end."""

import pytest

from search.proposal.costs import Costs, training_epochs
from search.proposal.forecast import trial_seconds
from search.proposal.plan import EXPLORED, EXPLORING, FINISHED, SHORTEST, plan_time
from search.recipe.recipe import Recipe, Step
from search.recipe.rungs import Rungs
from tests.search.made_up_records import trial
from tests.search.recipe.test_space import CHANNELS, DISTIL, QUANTIZE

WHOLE = Rungs(count=1, factor=3)
COSTS = Costs(epoch=10.0, file=5.0, precision="float32")
RECIPE = Recipe(
    steps=(
        Step(name="prune", target=CHANNELS, values={"ratio": 0.5}),
        Step(name="distil", target=DISTIL, values={"epochs": 8, "first_epoch": 0}),
        Step(name="quantize", target=QUANTIZE, values={"bits": 4, "allocation": "uniform"}),
        Step(name="tune", target=DISTIL, values={"epochs": 2, "first_epoch": 0}),
    ),
    seed=0,
)


def test_the_cost_of_a_recipe_is_that_of_its_recoveries_and_its_file() -> None:
    assert training_epochs(RECIPE) == 10
    assert COSTS.seconds(RECIPE) == 5 + 10 * 10


@pytest.mark.parametrize("seconds", [300.0, 900.0, 3600.0])
@pytest.mark.parametrize("slots", [1, 2, 8])
def test_what_is_planned_fits_into_the_time(seconds: float, slots: int) -> None:
    full = COSTS.epoch * 20
    plan = plan_time(COSTS, 20, seconds, slots)
    exploring = EXPLORED * (COSTS.file + full * plan.short)
    if plan.short > SHORTEST and plan.finishes:
        assert exploring == pytest.approx(seconds * slots * EXPLORING)
    if plan.finishes:
        assert FINISHED * (COSTS.file + full * plan.long) <= plan.finishing_seconds + 1e-6
        assert plan.short < plan.long <= 1


def test_with_time_enough_or_without_a_limit_recoveries_are_whole() -> None:
    assert plan_time(COSTS, 20, float("inf"), 2).exploring(RECIPE, WHOLE) == RECIPE
    assert plan_time(COSTS, 20, 1e6, 2).exploring(RECIPE, WHOLE) == RECIPE
    assert plan_time(None, 20, 60, 2).exploring(RECIPE, WHOLE) == RECIPE


def test_a_short_recovery_is_the_beginning_of_the_long_one() -> None:
    plan = plan_time(COSTS, 20, 900, 2)
    assert plan.finishes
    short, long = plan.exploring(RECIPE, WHOLE), plan.finishing(RECIPE)
    assert [step.name for step in long.steps] == ["prune", "distil", "distil.2", "quantize", "tune"]
    assert short.steps[:2] == long.steps[:2]
    assert short.steps[1].values["epochs"] == pytest.approx(8 * plan.short, abs=1e-3)
    whole = sum(step.values["epochs"] for step in long.steps[1:3])
    assert whole == pytest.approx(8 * plan.long, abs=1e-3)
    assert long.steps[4].values["epochs"] == pytest.approx(2 * plan.long, abs=1e-3)


def test_with_no_time_for_a_long_recovery_all_are_short() -> None:
    plan = plan_time(COSTS, 20, 30, 1)
    assert not plan.finishes
    assert plan.short < 1
    found = plan.exploring(RECIPE, WHOLE)
    assert training_epochs(found) == pytest.approx(10 * plan.short, abs=1e-3)


def test_a_forecast_is_corrected_by_what_trials_took() -> None:
    recipe = {"seed": 0, "steps": {"distil": {"_target_": DISTIL, "epochs": 1}}}
    untrained = [trial(n, finished=7.0) for n in range(3)]
    trained = [trial(n, recipe=recipe, training=f"t{n}", finished=45.0) for n in range(3, 6)]
    known = [trial(n, recipe=recipe, training="t3", finished=8.0) for n in range(6, 12)]
    assert trial_seconds(COSTS, RECIPE, []) == 5 + 10 * 10
    assert trial_seconds(COSTS, RECIPE, untrained) == 7 + 10 * 10
    assert trial_seconds(COSTS, RECIPE, [*untrained, *trained, *known]) == 7 + (45 - 7) * 10
