"""Parts of ranges without a feasible trial are taken away."""

from dataclasses import replace
from typing import Any

import pytest

from search.report.infeasible_ranges import failure_reason, infeasible_range
from search.trial_record import TrialRecord
from tests.search.report.small_study import space, trial


def bad(number: int, **params: Any) -> TrialRecord:
    broken = {"relative_drop<=0.1": 0.3, "nll<=2": 0.1}
    return trial(number, 0.5, 10.0, params=params, violations=broken)


def test_the_part_of_a_range_without_a_feasible_trial_is_taken_away():
    records = [bad(n, **{"sparsify.ratio": 0.8 + n / 50}) for n in range(6)]
    records += [trial(n, 0.9, 20.0, params={"sparsify.ratio": n / 20}) for n in range(8, 14)]
    found = infeasible_range(records, space())
    assert found is not None
    assert found.override == "steps.sparsify.ratio.high=0.65"
    assert (found.reason, found.failing, found.inside) == ("relative_drop<=0.1", 6, 6)
    assert found.part == "sparsify.ratio above 0.65"
    assert infeasible_range(records[1:], space()) is not None
    assert infeasible_range(records[2:], space()) is None


def test_the_choice_without_a_feasible_trial_is_taken_away():
    params = {"sparsify.ratio": 0.5, "sparsify.importance": "taylor"}
    fine = params | {"sparsify.importance": "wanda"}
    records = [
        trial(n, 0, 0, params=params, status="infeasible", error="no channel left")
        for n in range(5)
    ]
    records += [trial(n, 0.9, 20.0, params=fine) for n in range(5, 10)]
    found = infeasible_range(records, space())
    assert found is not None
    assert found.override == "'steps.sparsify.importance.choices=[magnitude,wanda]'"
    assert found.part == "sparsify.importance=taylor"
    stopped = [replace(r, status="stopped") if r.status != "ok" else r for r in records]
    assert infeasible_range(stopped, space()) is None


def test_a_part_that_chance_explains_is_not_blamed():
    records = [bad(n, **{"sparsify.ratio": 0.5 + n / 50}) for n in range(20)]
    records += [trial(20, 0.9, 20.0, params={"sparsify.ratio": 0.4})]
    assert infeasible_range(records, space()) is None


def test_a_recovery_is_not_made_shorter_since_recipes_with_it_score_worse():
    def study(**failed: Any) -> list[TrialRecord]:
        damaged = [replace(bad(n, **{"distil.epochs": 4}), **failed) for n in range(20)]
        fine = [trial(n, 0.9, 20.0, params={"distil.epochs": n % 2}) for n in range(20, 40)]
        return [*damaged, *fine]

    assert infeasible_range(study(), space()) is None
    late = infeasible_range(study(status="timeout", metrics={}), space())
    assert late is not None
    assert late.override == "steps.distil.epochs.high=1"


@pytest.mark.parametrize("status", ["stopped", "config_error"])
def test_trials_that_the_search_itself_ended_speak_against_no_range(status):
    assert failure_reason(trial(0, 0, 0, status=status)) is None
    assert failure_reason(trial(0, 0, 0, status="oom")) == "oom"
    assert failure_reason(bad(0)) == "relative_drop<=0.1"
    assert failure_reason(trial(0, 0.9, 9.0)) is None
