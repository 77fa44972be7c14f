"""Steps are said to change what comparisons of trials show, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from search.report.step_effects import step_effects, steps_of
from search.trial_record import TrialRecord
from tests.search.report.small_study import BASELINE, OBJECTIVES, random_records, trial


def pairs(count: int, gain: float, ratio: float) -> list[TrialRecord]:
    """Recipes with and without sharing, which changes score and size alike in all of them."""
    rng = np.random.default_rng(0)
    records = []
    for n in range(count):
        params = {"sparsify.ratio": 0.1 * (n + 1)}
        score, size = 0.9 + 0.002 * rng.normal(), 1e5 / (n + 1)
        records.append(trial(2 * n, score, size, params=params))
        shared = trial(2 * n + 1, score + gain, size * ratio, params=params, steps=["share"])
        records.append(shared)
    return records


def test_a_planted_paired_effect_is_found_with_its_figures() -> None:
    [effect] = step_effects(pairs(5, 0.02, 0.25), OBJECTIVES, ())
    assert (effect.step, effect.pairs) == ("share", 5)
    assert effect.changes == pytest.approx({"score": 0.02, "size_bytes": -0.75})


def test_the_baseline_is_the_partner_of_a_step_alone() -> None:
    records = [BASELINE, trial(1, 0.95, 25_000.0, steps=["share"])]
    more = [replace(r, number=r.number + 2) for r in pairs(2, 0.0, 0.25)]
    [effect] = step_effects([*records, *more], OBJECTIVES, ())
    assert (effect.pairs, effect.changes) == (3, {"size_bytes": pytest.approx(-0.75)})
    assert step_effects([*records, *more[:2]], OBJECTIVES, ()) == []


def test_a_difference_within_the_standard_errors_of_the_scores_is_not_said() -> None:
    noisy = [
        replace(r, metrics={**r.metrics, "score_standard_error": 0.05})
        for r in pairs(5, 0.02, 0.25)
    ]
    [effect] = step_effects(noisy, OBJECTIVES, ())
    assert list(effect.changes) == ["size_bytes"]


def test_trials_that_differ_in_other_steps_too_are_compared_if_there_are_many() -> None:
    records = [
        trial(n, 0.9, (100.0 if n % 2 else 400.0) + n, params={"sparsify.ratio": n / 100},
              steps=["share"] if n % 2 else [])
        for n in range(1, 25)
    ]  # fmt: skip
    effects = {effect.step: effect for effect in step_effects(records, OBJECTIVES, ())}
    share = effects["share"]
    assert (share.pairs, share.with_step, share.without_step) == (0, 12, 12)
    medians = [np.median([r.metrics["size_bytes"] for r in records[side::2]]) for side in (0, 1)]
    expected = {"size_bytes": pytest.approx(medians[0] / medians[1] - 1, abs=0.01)}
    assert share.changes == expected
    assert "share" not in {e.step for e in step_effects(records[:18], OBJECTIVES, ())}


def test_recoveries_of_damaged_recipes_are_not_called_worse() -> None:
    """Recipes that were pruned hard are trained, and are worse all the same."""
    trained = {"distil.epochs": 4}
    records = [
        trial(n, 0.5 + n / 1000, 10.0 + n, params={"sparsify.ratio": 0.9 + n / 1e4, **trained})
        for n in range(20)
    ]
    records += [
        trial(n, 0.9 + n / 1000, 50.0 + n, params={"sparsify.ratio": 0.1 + n / 1e4})
        for n in range(20, 40)
    ]
    assert "distil" in {e.step for e in step_effects(records, OBJECTIVES, ())}
    assert "distil" not in {e.step for e in step_effects(records, OBJECTIVES, ("distil",))}


def test_a_recovery_is_judged_by_pairs() -> None:
    rng = np.random.default_rng(1)
    records = []
    for n in range(6):
        damage = {"sparsify.ratio": 0.6 + n / 50}
        score = 0.6 + 0.01 * rng.normal()
        records.append(trial(2 * n, score, 10.0 + n, params=damage))
        better = score + 0.3 + 0.01 * rng.normal()
        records.append(trial(2 * n + 1, better, 10.0 + n, params=damage | {"distil.epochs": 2}))
    [effect] = step_effects(records, OBJECTIVES, ("distil",))
    assert (effect.step, effect.pairs, list(effect.changes)) == ("distil", 6, ["score"])
    assert effect.changes["score"] == pytest.approx(0.3, abs=0.02)


def test_where_nothing_is_known_something_is_said_as_seldom_as_the_level_says() -> None:
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        records = random_records(
            40, score=lambda p, rng=rng: rng.normal(), size=lambda p, rng=rng: 1 + rng.random()
        )
        found += step_effects(records, OBJECTIVES, ("distil",))
    assert len(found) <= 1  # 0.3 are expected of 30


def test_parts_of_a_recovery_are_one_step_and_no_epochs_are_none() -> None:
    steps = {"distil.1": {"epochs": 1}, "distil.2": {"epochs": 3}, "tune": {"epochs": 0}}
    staged = replace(trial(0, 0.9, 9.0), recipe={"seed": 0, "steps": steps})
    assert steps_of(staged) == {"distil"}
