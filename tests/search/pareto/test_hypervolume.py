"""The hypervolume against volumes computed by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from search.pareto.archive import archive_of
from search.pareto.front import cost_matrix, pareto_front
from search.pareto.hypervolume import hypervolume
from tests.search.pareto.test_front import FOUR, TWO, random_trials, trial

BASELINE = {"score": 0.9, "size_bytes": 1000.0, "latency_ratio": 1.0, "score_drop": 0.0}


def volume_of(records, objectives, baseline, reference=None):
    """Return the volume of trials without one for the baseline."""
    return hypervolume(cost_matrix(records, objectives), objectives, baseline, reference or {})


def test_the_baselines_score_at_zero_cost_is_worth_one():
    perfect = {"score": 0.9, "score_drop": 0.0, "size_bytes": 0.0, "latency_ratio": 0.0}
    for chosen in (TWO, {"score_drop": "minimize", "latency_ratio": "minimize"}):
        assert volume_of([trial(0, perfect)], chosen, BASELINE) == pytest.approx(1.0)


def test_the_baseline_itself_adds_nothing():
    assert volume_of([trial(0, BASELINE)], TWO, BASELINE) == 0.0


def test_volume_of_two_trials_is_the_union_of_their_boxes():
    # Gains 1 x 0.5 and 0.5 x 0.8, which share 0.5 x 0.5.
    records = [
        trial(0, {"score": 0.9, "size_bytes": 500.0}),
        trial(1, {"score": 0.855, "size_bytes": 200.0}),
    ]
    assert volume_of(records, TWO, BASELINE) == pytest.approx(0.5 + 0.4 - 0.25)


def test_a_score_that_falls_with_quality_is_normalised_the_same_way():
    perplexity = {"score": "minimize", "size_bytes": "minimize"}
    baseline = {"score": 20.0, "size_bytes": 1000.0}
    records = [trial(0, {"score": 21.0, "size_bytes": 500.0})]
    assert volume_of(records, perplexity, baseline) == pytest.approx(0.5 * 0.5)


def test_trials_beyond_the_reference_or_infeasible_add_nothing():
    records = [
        trial(0, BASELINE, origin="baseline"),
        trial(1, {"score": 0.80, "size_bytes": 1.0}),
        trial(2, {"score": 0.99, "size_bytes": 1000.0}),
        trial(3, {"score": 0.99, "size_bytes": 1.0}, violations={"latency_ratio": 0.1}),
        trial(4, {}, status="oom"),
    ]
    assert archive_of(records, TWO).history == dict.fromkeys(range(5), 0.0)
    assert volume_of(records[:3], TWO, BASELINE) == 0.0
    assert volume_of([], TWO, BASELINE) == 0.0


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_an_objective_the_baseline_has_no_figure_of_is_refused(value):
    records = [trial(0, {"score": 0.9, "size_bytes": 1.0})]
    metrics = {"score": 0.9} if value is None else {"score": 0.9, "size_bytes": value}
    with pytest.raises(ValueError, match=r"size_bytes is .*: choose another objective"):
        volume_of(records, TWO, metrics)


def test_an_objective_the_baseline_has_at_zero_is_counted_in_units_of_one():
    counted = {"score": "maximize", "integer_operators": "maximize"}
    records = [trial(0, {"score": 0.9, "integer_operators": 3.0})]
    baseline = BASELINE | {"integer_operators": 0.0}
    assert volume_of(records, counted, baseline) == pytest.approx(3.0)


def test_a_relative_drop_is_worth_what_the_same_drop_of_score_is():
    records = [trial(0, {"score": 0.855, "score_drop": 0.045, "relative_drop": 0.05})]
    volumes = [
        volume_of(records, {name: way}, BASELINE)
        for name, way in (
            ("score", "maximize"),
            ("score_drop", "minimize"),
            ("relative_drop", "minimize"),
        )
    ]
    assert volumes == pytest.approx([0.5, 0.5, 0.5])


def test_a_reference_of_ones_own_moves_where_gains_begin_and_not_what_is_perfect():
    perfect = trial(0, {"score": 0.9, "size_bytes": 0.0})
    reference = {"score": 0.85, "size_bytes": 200.0}
    assert volume_of([perfect], TWO, BASELINE, reference) == pytest.approx(1.0)
    middling = trial(1, {"score": 0.875, "size_bytes": 150.0})
    assert volume_of([middling], TWO, BASELINE, reference) == pytest.approx(0.5 * 0.25)
    assert volume_of([middling], TWO, BASELINE, {"size_bytes": 150.0}) == 0.0
    grown = archive_of([trial(0, BASELINE, origin="baseline"), middling], TWO, reference)
    assert grown.history == {0: 0.0, 1: pytest.approx(0.5 * 0.25)}


def test_a_reference_at_the_baselines_score_counts_what_lies_above_it():
    records = [trial(0, {"score": 0.95, "size_bytes": 500.0})]
    volume = volume_of(records, TWO, BASELINE, {"score": 0.9})
    assert volume == pytest.approx(0.05 * 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_volume_agrees_with_inclusion_and_exclusion(seed):
    rng = np.random.default_rng(seed)
    objectives = {"a": "minimize", "b": "minimize", "c": "minimize"}
    gains = rng.uniform(0.05, 0.95, size=(6, 3))
    records = [
        trial(n, dict(zip("abc", (1 - g).tolist(), strict=True))) for n, g in enumerate(gains)
    ]
    boxes = itertools.chain.from_iterable(
        itertools.combinations(gains, size) for size in range(1, 7)
    )
    expected = sum((-1) ** (len(box) + 1) * np.prod(np.min(box, axis=0)) for box in boxes)
    volume = volume_of(records, objectives, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert volume == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_history_is_the_volume_after_each_trial_and_never_falls(seed):
    worst = BASELINE | {"score": 0.7, "size_bytes": 1.0}
    drawn = random_trials(seed, 25, list(FOUR))
    records = [
        trial(0, worst, origin="baseline"),
        *(replace(r, number=r.number + 1) for r in drawn),
    ]
    history = archive_of(records, FOUR).history
    for count in range(1, len(records) + 1):
        feasible = [record for record in records[:count] if record.feasible]
        assert history[count - 1] == pytest.approx(volume_of(feasible, FOUR, worst))
    values = list(history.values())
    assert list(history) == list(range(26))
    assert values == sorted(values)


@pytest.mark.parametrize("seed", range(4))
def test_the_volume_is_that_of_the_front_in_any_order(seed):
    feasible = [record for record in random_trials(seed, 30, list(FOUR)) if record.feasible]
    whole = volume_of(feasible, FOUR, BASELINE)
    assert whole == volume_of(feasible[::-1], FOUR, BASELINE)
    assert whole == pytest.approx(volume_of(pareto_front(feasible, FOUR), FOUR, BASELINE))
