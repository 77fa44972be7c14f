"""What `select=` answers, and what it says when it cannot."""

import numpy as np
import pytest

from search.errors import SelectionError
from search.pareto.selection import select
from search.pareto.selection_expression import parse
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}


def trial(number, score, size, *, status="ok", violations=None, **more):
    return TrialRecord(
        number=number,
        status=status,
        origin="sampled",
        seed=0,
        params={},
        recipe={},
        recipe_hash="",
        metrics={"score": score, "size_bytes": size, **more} if status == "ok" else {},
        violations=violations or {},
        started=0.0,
        finished=1.0,
    )


FRONT = [
    trial(0, 0.98, 100_000.0, nll=0.10),
    trial(1, 0.97, 30_000.0, nll=0.12),
    trial(2, 0.96, 12_000.0, nll=0.11),
    trial(3, 0.80, 9_000.0, nll=0.60),
    trial(4, 0.70, 90_000.0, nll=0.05),
    trial(5, 0.99, 1_000.0, nll=0.01, violations={"latency_ratio": 0.2}),
    trial(6, 0.0, 0.0, status="error"),
]


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("max score", 0),
        ("min size_bytes", 3),
        ("max score where size_bytes<=20000", 2),
        ("max score where size_bytes <= 3e4", 1),
        ("max score where size_bytes<3e4", 2),
        ("min size_bytes where score>=.96 and nll<0.115", 2),
        ("min size_bytes where score > 0.96", 1),
        ("min nll where size_bytes == 90000", 4),
        ("  max   score  where  size_bytes<=20000  and nll<=1 ", 2),
    ],
)
def test_expression_names_the_best_feasible_trial_within_the_bounds(expression, number):
    assert select(FRONT, OBJECTIVES, expression).number == number


def test_ties_go_to_the_better_first_objective_and_then_to_the_lower_number():
    records = [trial(3, 0.8, 50.0), trial(2, 0.9, 50.0), trial(1, 0.9, 50.0)]
    assert select(records, OBJECTIVES, "min size_bytes").number == 1


def test_knee_is_the_point_farthest_from_the_line_through_the_extremes():
    rng = np.random.default_rng(0)
    sizes = np.sort(rng.uniform(1.0, 100.0, 12))
    scores = np.sort(rng.uniform(0.5, 1.0, 12))
    records = [trial(i, *pair) for i, pair in enumerate(zip(scores, sizes, strict=True))]
    x, y = (sizes - sizes[0]) / np.ptp(sizes), (scores - scores[0]) / np.ptp(scores)
    assert select(records, OBJECTIVES, "knee").number == int(np.argmax(y - x))


def test_knee_of_a_known_front():
    assert select(FRONT, OBJECTIVES, "knee").number == 2


def test_knee_does_not_depend_on_units():
    thousandth = [
        trial(r.number, r.metrics["score"], r.metrics["size_bytes"] / 1000) for r in FRONT[:5]
    ]
    assert select(thousandth, OBJECTIVES, "knee").number == 2


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]])
def test_knee_is_the_balanced_trial_among_specialists(names):
    specialists = [{n: float(n != good) for n in names} for good in names]
    records = [
        trial(number, 0.0, 0.0, **metrics)
        for number, metrics in enumerate([*specialists, dict.fromkeys(names, 0.1)])
    ]
    assert select(records, dict.fromkeys(names, "minimize"), "knee") is records[-1]


@pytest.mark.parametrize(
    ("weights", "number"),
    [({"score": 2.0, "size_bytes": 2.0}, 2), ({"score": 50.0}, 0), ({"size_bytes": 50.0}, 3)],
)
def test_weights_move_the_knee_towards_what_matters_more(weights, number):
    assert select(FRONT, OBJECTIVES, "knee", weights).number == number


def test_the_weighted_knee_is_the_least_weighted_sum_of_scaled_costs():
    rng = np.random.default_rng(1)
    sizes, scores = np.sort(rng.uniform(1.0, 9.0, 12)), np.sort(rng.uniform(0.5, 1.0, 12))
    records = [trial(i, *pair) for i, pair in enumerate(zip(scores, sizes, strict=True))]
    lost = (scores[-1] - scores) / np.ptp(scores)
    large = (sizes - sizes[0]) / np.ptp(sizes)
    chosen = select(records, OBJECTIVES, "knee", {"score": 3.0})
    assert chosen.number == int(np.argmin(3 * lost + large))


def test_knee_of_a_front_of_one_is_that_one():
    assert select([trial(7, 0.5, 5.0)], OBJECTIVES, "knee").number == 7


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "best score",
        "max",
        "max score where",
        "max score where size_bytes",
        "max score size<1",
        "max score where size_bytes=<3",
        "max score where size_bytes<=20kB",
        "max score where a<1 or b<2",
        "max score where size_bytes<=1 and",
        "max score; min size_bytes",
        "__import__('os')",
    ],
)
def test_malformed_expression_is_answered_with_the_grammar(expression):
    with pytest.raises(SelectionError, match=r"cannot read .*write knee, or: max\|min METRIC"):
        select(FRONT, OBJECTIVES, expression)


@pytest.mark.parametrize(
    "expression", ["max scor", "min size_byte", "max score where size_byte<=1"]
)
def test_unknown_metric_is_answered_with_the_nearest_names(expression):
    with pytest.raises(SelectionError, match=r"unknown metric .*did you mean .*(score|size_bytes)"):
        select(FRONT, OBJECTIVES, expression)


def test_unlike_any_name_is_answered_with_all_names():
    with pytest.raises(SelectionError, match="known: nll, score, size_bytes"):
        select(FRONT, OBJECTIVES, "max zzzzzz")


def test_unmet_bound_is_named_with_the_closest_value():
    with pytest.raises(
        SelectionError, match=r"has size_bytes <= 5000: the closest is 9000, trial 3"
    ):
        select(FRONT, OBJECTIVES, "max score where size_bytes<=5000")


def test_bounds_unmet_only_together_name_the_closest_value_within_the_others():
    with pytest.raises(SelectionError, match=r"none of the 2 .*score >= 0.97: .* 0.96, trial 2"):
        select(FRONT, OBJECTIVES, "max score where size_bytes<=20000 and score>=0.97")


@pytest.mark.parametrize("expression", ["knee", "max score"])
def test_without_a_feasible_trial_nothing_is_chosen(expression):
    with pytest.raises(SelectionError, match="no trial is feasible"):
        select(FRONT[5:], OBJECTIVES, expression)


def test_the_test_set_cannot_choose_the_model():
    records = [trial(0, 0.9, 5.0, test_score=0.91)]
    with pytest.raises(SelectionError, match="must not choose the model: select by score"):
        select(records, OBJECTIVES, "max test_score")


def test_metrics_with_a_slash_can_be_asked_for():
    records = [trial(0, 0.9, 5.0, **{"achieved/prune/parameters_removed": 0.4})]
    goal = "max score where achieved/prune/parameters_removed>=0.3"
    assert select(records, OBJECTIVES, goal).number == 0
    assert parse(goal).bounds[0].metric == "achieved/prune/parameters_removed"


def test_of_equal_trials_the_one_that_no_other_dominates_is_chosen() -> None:
    objectives = {"score": "maximize", "size_bytes": "minimize"}
    measured = [(0.9, 500.0), (0.98, 19_000.0), (0.98, 6_700.0)]
    records = [
        TrialRecord(
            number=number,
            status="ok",
            origin="sampled",
            seed=0,
            params={},
            recipe={},
            recipe_hash=str(number),
            metrics={"score": score, "size_bytes": size},
            started=0.0,
            finished=1.0,
        )
        for number, (score, size) in enumerate(measured)
    ]
    assert select(records, objectives, "max score where size_bytes<=20000").number == 2
