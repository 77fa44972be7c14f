"""What `select=` answers, and what it says when it cannot."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from search.errors import SelectionError
from search.pareto.selection import WORDS, roles, select
from search.pareto.selection_expression import parse
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}


def trial(number, score, size, *, status="ok", violations=None, origin="sampled", **more):
    return TrialRecord(
        number=number,
        status=status,
        origin=origin,
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
        ("4", 4),
        (4, 4),
        ("5", 5),
        ("best", 0),
        ("smallest", 3),
        ("best where size_bytes <= 20kB", 2),
        ("smallest where score >= 96%", 2),
        ("knee where size_bytes < 12kB", 3),
        ("knee weighing score=50", 0),
        ("knee weighing score=1, size_bytes=50", 3),
        ("knee weighing score=50 where size_bytes <= 0.03MB", 1),
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
        "max score where size_bytes<=kB",
        "max score where size_bytes<=20 k B",
        "-1",
        "1.5",
        "smallest score",
        "knee weighing score",
        "smallest weighing",
        "max score where a<1 or b<2",
        "max score where size_bytes<=1 and",
        "max score; min size_bytes",
        "__import__('os')",
    ],
)
def test_malformed_expression_is_answered_with_the_grammar(expression):
    with pytest.raises(SelectionError, match=r"cannot read .*write a trial's number, or: knee\|sm"):
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


BASELINE = trial(0, 0.98, 100_000.0, origin="baseline", latency_ratio=0.9, score_drop=0.0)
COMPRESSED = [
    trial(1, 0.97, 50_000.0, latency_ratio=1.0, score_drop=0.01),
    trial(2, 0.90, 60_000.0, latency_ratio=0.95, score_drop=0.08),
]


@pytest.mark.parametrize("objectives", [OBJECTIVES, {"nll": "minimize"}, {"score": "maximize"}])
@pytest.mark.parametrize("order", [1, -1])
def test_nothing_but_its_number_selects_the_uncompressed_baseline(objectives, order):
    """Whatever the words, the bounds and the objectives, the baseline is what one has already."""
    trials = [BASELINE, *COMPRESSED]
    records = [replace(r, metrics={**r.metrics, "nll": 0.1 * r.number}) for r in trials][::order]
    for word in (*WORDS, "max score", "min latency_ratio", "best where score_drop <= 50%"):
        with suppress(SelectionError):  # of the knee, where the baseline is better than all
            assert select(records, objectives, word).number != 0
    assert select(records, objectives, 0).number == 0


def test_the_fastest_and_the_best_are_those_of_the_compressed_trials():
    records = [BASELINE, *COMPRESSED]
    found = {word: select(records, OBJECTIVES, word).number for word in WORDS}
    assert found == {"knee": 1, "smallest": 1, "fastest": 2, "best": 1}
    assert roles(records, OBJECTIVES) == {1: ["knee", "smallest", "best"], 2: ["fastest"]}


def test_the_best_score_is_the_lowest_where_less_is_better():
    records = [trial(1, 3.0, 1.0), trial(2, 2.0, 1.0)]
    assert select(records, {"score": "minimize"}, "best").number == 2


def test_the_baseline_alone_leaves_nothing_to_choose():
    with pytest.raises(SelectionError, match="no trial is feasible but the uncompressed baseline"):
        select([BASELINE], OBJECTIVES, "knee")
    assert roles([BASELINE], OBJECTIVES) == {}


def test_weights_on_the_spot_replace_those_of_the_study():
    study = {"score": 50.0}
    assert select(FRONT, OBJECTIVES, "knee", study).number == 0
    chosen = select(FRONT, OBJECTIVES, "knee weighing score=1, size_bytes=50", study)
    assert chosen.number == 3


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("99", "there is no finished trial 99; there are: from 0 to 6"),
        ("6", "trial 6 measured no model, its status is 'error'"),
        ("best weighing score=2", "only the knee weighs objectives, not best"),
        ("knee weighing nll=2", "nll is no objective of this study; weigh one of score, size_by"),
        ("knee weighing score=0", "a weight must be a finite number above 0, got 0"),
        ("best where size_bytes<=5%", "size_bytes is given one of B, kB, .*size_ratio"),
        ("best where score>=5kB", "score is given one of %, got 'kB'"),
        ("best where nll<=5%", "nll is given without a unit, got '%'"),
        ("best where score>=1e999", "must be finite"),
    ],
)
def test_what_no_trial_can_answer_is_said(expression, message):
    with pytest.raises(SelectionError, match=message):
        select(FRONT, OBJECTIVES, expression)
