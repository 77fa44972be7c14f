"""Steps are judged by the front and by medians."""

from dataclasses import replace

import pytest

from search.pareto.front import pareto_front
from search.report.step_effects import step_effects
from tests.search.report.small_study import BASELINE, OBJECTIVES, trial


def test_a_step_is_judged_by_its_share_of_the_front_and_by_medians():
    records = [BASELINE]
    records += [trial(n, 0.96, 1000.0 + n, steps=["share"]) for n in range(1, 7)]
    records += [trial(n, 0.90, 2000.0, steps=["sparsify"]) for n in range(7, 17)]
    records += [trial(17, 0.99, 1500.0, steps=["share", "sparsify"])]
    front = [record.number for record in pareto_front(records, OBJECTIVES)]
    assert front == [17, 1]
    share, sparsify = step_effects(records, front, OBJECTIVES)
    assert (share.step, share.front_share, share.with_step, share.without_step) == (
        "share",
        1.0,
        7,
        10,
    )
    assert share.feasible_share == pytest.approx(7 / 17)
    assert share.medians == {"score": (0.96, 0.90), "size_bytes": (1004.0, 2000.0)}
    assert (sparsify.step, sparsify.front_share) == ("sparsify", 0.5)
    assert not share.thin
    assert step_effects(records[:9], front, OBJECTIVES)[0].thin


def test_medians_count_trials_that_break_a_constraint_too():
    broken = {"violations": {"relative_drop<=0.1": 0.4}}
    records = [trial(n, 0.2, 100.0, steps=["share"], **broken) for n in range(5)]
    records += [trial(n, 0.9, 900.0) for n in range(5, 10)]
    [share] = step_effects(records, [5], OBJECTIVES)
    assert share.medians["score"] == (0.2, 0.9)
    assert (share.feasible_share, share.front_share) == (0.0, 0.0)


def test_parts_of_a_recovery_are_one_step_and_no_epochs_are_none():
    staged = trial(0, 0.9, 9.0)
    steps = {"distil.1": {"epochs": 1}, "distil.2": {"epochs": 3}, "tune": {"epochs": 0}}
    staged = replace(staged, recipe={"seed": 0, "steps": steps})
    assert [p.step for p in step_effects([staged, trial(1, 0.9, 9.0)], [0], OBJECTIVES)] == [
        "distil"
    ]
