"""What a trial uses up of the loss of score that a study allows."""

import math

import pytest

from search.config.constraints import Constraint
from search.proposal.strength.bound import ScoreBound
from tests.search.made_up_records import BASELINE, trial


def bound(metric: str, value: float, *, upper: bool = True) -> ScoreBound:
    limits = [Constraint(metric=metric, upper=upper, bound=value)]
    return ScoreBound(constraints=limits, baseline=BASELINE)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (bound("relative_drop", 0.02), 0.5),
        (bound("score_drop", 0.018), 0.5),
        (bound("score", 0.882, upper=False), 0.5),
        (bound("size_bytes", 10), 0.1),  # no bound on the score: 10 % of it
        (ScoreBound(constraints=(), baseline=BASELINE), 0.1),
    ],
)
def test_a_drop_uses_up_its_share(limit: ScoreBound, expected: float) -> None:
    assert limit.used(trial(1, drop=0.01)) == pytest.approx(expected)
    assert limit.used(trial(1, drop=-0.01)) == 0


def test_the_tightest_bound_counts() -> None:
    limits = [
        Constraint(metric="relative_drop", upper=True, bound=0.1),
        Constraint(metric="score_drop", upper=True, bound=0.0009),
    ]
    found = ScoreBound(constraints=limits, baseline=BASELINE).used(trial(1, drop=0.01))
    assert found == pytest.approx(10)


def test_a_trial_without_metrics_and_a_bound_without_room_are_beyond_all() -> None:
    assert math.isinf(bound("relative_drop", 0.02).used(trial(1, status="error", metrics={})))
    assert math.isinf(bound("relative_drop", 0.0).used(trial(1, drop=0.01)))
