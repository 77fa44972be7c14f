"""Why a trial is refused before it is trained, on estimates made up for each reason."""

import json
from dataclasses import replace
from typing import Any

import pytest

from search.config.constraints import parse_constraints
from search.pareto.ranking import rung_costs
from search.recipe.rungs import Rungs
from search.trial.screen import FrontMember, Screen
from search.trial_record import ModelEstimate

BASELINE = {"score": 0.9, "nll": 0.3, "size_bytes": 1000.0, "run_bytes": 4000.0}
OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}


def estimate(**changes: float) -> ModelEstimate:
    """Return the estimate of a model in memory, with a score."""
    made = ModelEstimate(
        share=0.0,
        model="made up",
        score=0.6,
        score_standard_error=0.01,
        nll=1.2,
        estimated_bytes=500.0,
        macs=100.0,
        parameters=250,
        nonzeros=120,
        integers=False,
    )
    return replace(made, **changes)


def screen(**changes: Any) -> Screen:
    made = Screen(
        rungs=Rungs(count=4, factor=3),
        objectives=OBJECTIVES,
        constraints=(),
        baseline=BASELINE,
        maximize=True,
    )
    return replace(made, **changes)


def member(trial: int = 7, **changes: float) -> FrontMember:
    """Return a trial on the front."""
    known = {"score": 0.9, "size_bytes": 100.0, "macs": 50.0, "integer_operators": 0}
    return FrontMember(number=trial, metrics=known | changes)


def refusal(of: Screen, given: ModelEstimate, *, trained: bool = True) -> str:
    """Return why a model is refused: one that is to be trained has no score yet."""
    unscored = replace(given, score=None, score_standard_error=None, nll=None)
    return of.refusal(unscored if trained else given, "this")


def test_what_may_pay_is_not_refused() -> None:
    assert refusal(screen(), estimate()) == ""
    assert refusal(screen(front=[member(size_bytes=800.0)], seen={"that": 3}), estimate()) == ""


def test_the_same_model_is_not_tried_again() -> None:
    assert refusal(screen(seen={"this": 3}), estimate()) == "the same model as trial 3"


@pytest.mark.parametrize(
    ("constraint", "trained", "refused"),
    [
        ({"relative_drop": "<=0.1"}, True, False),  # training may bring the baseline's score
        ({"relative_drop": "<=0.1"}, False, True),
        ({"score": ">=0.95"}, True, False),  # or a better one
        ({"score": ">=0.85"}, True, False),
        ({"size_bytes": "<=200"}, True, True),
        ({"size_bytes": "<=480"}, True, False),  # the estimate may be as wrong as that
        ({"size_ratio": "<=0.05"}, True, True),
        ({"macs": "<=99"}, True, True),
        ({"parameters": "<=249"}, True, True),
        ({"nonzeros": "<=120"}, True, False),
        ({"latency_ratio": "<=0.1"}, True, False),  # is not known yet
    ],
)
def test_a_bound_that_cannot_be_met_is_a_reason(
    constraint: dict[str, str], trained: bool, refused: bool
) -> None:
    reason = refusal(screen(constraints=parse_constraints(constraint)), estimate(), trained=trained)
    [metric] = constraint
    assert bool(reason) is refused
    assert not refused or f"not {metric}{constraint[metric]}" in reason


def test_a_score_above_the_baseline_s_is_not_hoped_away() -> None:
    bound = parse_constraints({"score": ">=0.95"})
    assert screen(constraints=bound).futility(estimate(score=0.96)) == ""
    assert (
        screen(constraints=bound).futility(estimate(score=0.93))
        == "score 0.94 at best, not score>=0.95"
    )


@pytest.mark.parametrize(
    ("of_the_front", "futile"),
    [
        ({}, True),
        ({"score": 0.605}, False),  # within a standard error
        ({"score": 0.615}, True),
        ({"size_bytes": 480.0}, False),  # the file may be smaller than estimated
    ],
)
def test_a_trial_that_is_better_in_everything_is_a_reason(
    of_the_front: dict[str, float], futile: bool
) -> None:
    reason = screen(front=[member(**of_the_front)]).futility(estimate())
    assert bool(reason) is futile
    assert not futile or reason.startswith("trial 7 is better")


def test_what_shall_be_trained_may_become_better_than_anything() -> None:
    assert refusal(screen(front=[member(score=1.0)]), estimate()) == ""


def test_every_member_of_the_front_is_looked_at() -> None:
    front = [member(size_bytes=900.0, trial=5), member(score=0.5, trial=6), member()]
    assert screen(front=front).futility(estimate()).startswith("trial 7 is better")


def test_a_lower_score_can_be_the_better() -> None:
    lower = screen(
        objectives={"score": "minimize", "size_bytes": "minimize"},
        maximize=False,
        baseline=BASELINE | {"score": 0.2},
    )
    assert replace(lower, front=[member(score=0.19)]).futility(estimate(score=0.21))
    assert replace(lower, front=[member(score=0.21)]).futility(estimate(score=0.21)) == ""


def test_operations_stand_for_latency() -> None:
    objectives = {"score": "maximize", "latency_ratio": "minimize"}
    latent = screen(objectives=objectives)
    assert replace(latent, front=[member(macs=50.0)]).futility(estimate())
    assert replace(latent, front=[member(macs=99.0)]).futility(estimate()) == ""


def test_an_objective_that_nobody_knows_yet_spares_the_trial() -> None:
    unknown = screen(objectives={"score": "maximize", "run_bytes": "minimize"}, front=[member()])
    assert unknown.futility(estimate()) == ""


def test_nothing_is_refused_if_the_user_says_so() -> None:
    reasons = screen(
        seen={"this": 3},
        constraints=parse_constraints({"macs": "<=1"}),
        front=[member()],
    )
    assert refusal(reasons, estimate()) == "the same model as trial 3"
    assert "macs" in refusal(replace(reasons, seen={}), estimate())
    assert refusal(replace(reasons, seen={}, refuse_early=False), estimate()) == ""


def test_what_is_measured_whatever_it_is_worth_is_not_measured_twice() -> None:
    always = screen(seen={"this": 3}, refuse_early=False)
    assert refusal(always, estimate()) == "the same model as trial 3"


def test_a_rung_compares_with_those_that_were_there() -> None:
    weak, strong = (
        estimate(nll=9.0, estimated_bytes=5000.0),
        estimate(nll=0.1, estimated_bytes=10.0),
    )
    peers = [rung_costs(estimate(nll=1 + n / 10), list(OBJECTIVES)) for n in range(5)]
    at_the_second = screen(peers=[[], peers])
    assert at_the_second.stop(weak, 1) == "not in the best 1/3 of 6 at 11% of its training"
    assert at_the_second.stop(strong, 1) == ""
    assert at_the_second.stop(weak, 0) == ""
    assert at_the_second.stop(weak, 2) == ""


def test_a_screen_comes_back_from_plain_data() -> None:
    made = screen(
        constraints=parse_constraints({"relative_drop": "<=0.1"}),
        peers=[[[1.0, 2.0]]],
        front=(member(),),
        seen={"a": 1},
    )
    assert Screen.from_data(json.loads(json.dumps(made.to_data()))) == made
