"""The learning rate of recoveries is lowered as long as the first trial gets better by it."""

from collections.abc import Callable

import pytest

from search.proposal.strength.learning_rates import LOWER, TIMES, LearningRates, learning_rates
from search.recipe.parsing import parse_space
from search.recipe.space import Space
from search.trial_record import TrialRecord
from tests.search.made_up_records import trial
from tests.search.proposal.strength.test_path import BOUND, EPOCHS
from tests.search.recipe.test_space import CHANNELS, DISTIL, ratio

ANCHOR, HIGH = 2e-3, 1e-2


def space(low: float = 1e-6) -> Space:
    rate = {"_suggest_": "float", "low": low, "high": HIGH, "log": True, "anchor": ANCHOR}
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio()},
        "distil": {
            "_target_": DISTIL,
            "epochs": EPOCHS,
            "learning_rate": {**rate, "when": "epochs"},
        },
    }
    return parse_space(steps, {})


def settled(drop: Callable[[float], float], one: Space) -> tuple[LearningRates, list[float]]:
    """Return what is found where the drop depends on the rate alone, and the rates tried."""
    params = {"prune.ratio": 0.5, "distil.epochs": 4, "distil.learning_rate": ANCHOR}
    records = [trial(0, "baseline"), trial(1, "path:prune:0.5000", drop(ANCHOR), params=params)]
    while proposal := learning_rates(one, BOUND, records, records[1]).proposal():
        rate = float(str(proposal.params["distil.learning_rate"]))
        assert proposal.params == params | {"distil.learning_rate": rate}
        made: TrialRecord = trial(
            len(records), proposal.origin, drop(rate), params=dict(proposal.params)
        )
        records.append(made)
    tried = [float(str(r.params["distil.learning_rate"])) for r in records[1:]]
    return learning_rates(one, BOUND, records, records[1]), tried


@pytest.mark.parametrize(
    ("drop", "factor", "trials"),
    [
        (lambda rate: 0.004, 1.0, 1),  # a fifth of the bound: it is well
        (lambda rate: 0.1 / rate, 1.0, 2),  # the lower, the worse
        (lambda rate: 100 * rate, LOWER**-TIMES, 1 + TIMES),  # the lower, the better
        (lambda rate: 0.1 if rate > 1e-3 else 1e-5 / rate, 1 / LOWER, 1 + TIMES),
    ],
)
def test_the_rate_is_lowered_while_that_is_better(
    drop: Callable[[float], float], factor: float, trials: int
) -> None:
    found, tried = settled(drop, space())
    assert found.factor == pytest.approx(factor)
    assert len(tried) == trials
    assert tried == sorted(tried, reverse=True)


def test_stronger_recipes_learn_faster_up_to_the_highest_rate() -> None:
    rates = LearningRates(space=space())
    found = [rates.at("distil", strength)["learning_rate"] for strength in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([ANCHOR**2 / HIGH, ANCHOR, HIGH])
    lowered = LearningRates(space=space(), factor=1 / 8)
    assert lowered.at("distil", 0.5)["learning_rate"] == pytest.approx(ANCHOR / 8)
    assert lowered.at("prune", 0.5) == {}


def test_no_rate_is_below_the_range() -> None:
    found, tried = settled(lambda rate: 100 * rate, space(low=1e-3))
    assert min(tried) == 1e-3
    assert found.at("distil", 0.0)["learning_rate"] == 1e-3


def test_rates_far_below_the_best_are_not_plausible() -> None:
    rates = LearningRates(space=space())
    assert rates.plausible({"distil.learning_rate": ANCHOR / LOWER})
    assert not rates.plausible({"distil.learning_rate": ANCHOR / LOWER / 2})
    assert rates.plausible({"prune.ratio": 0.5})


def test_a_fixed_rate_stays() -> None:
    steps = {
        "prune": {"_target_": CHANNELS, "ratio": ratio()},
        "distil": {"_target_": DISTIL, "epochs": EPOCHS, "learning_rate": 1e-4},
    }
    one = parse_space(steps, {})
    first = trial(1, "path:prune:0.5000", 0.5)
    assert learning_rates(one, BOUND, [first], first).proposal() is None
