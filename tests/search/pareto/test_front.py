"""The front against brute force, and the hypervolume against volumes computed by hand."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from search.pareto.front import hypervolume, hypervolume_history, pareto_front
from search.trial_record import TrialRecord

TWO = {"score": "maximize", "size_bytes": "minimize"}
FOUR = TWO | {"latency_ratio": "minimize", "score_drop": "minimize"}
BASELINE = {"score": 0.9, "size_bytes": 1000.0, "latency_ratio": 1.0, "score_drop": 0.0}


def trial(number, metrics, *, status="ok", violations=None):
    return TrialRecord(
        number=number,
        status=status,
        origin="sampled",
        seed=number,
        params={},
        recipe={"seed": number, "steps": {}},
        recipe_hash=f"{number:04x}",
        metrics=metrics,
        violations=violations or {},
        started=0.0,
        finished=1.0,
    )


def random_trials(seed, count, names):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, size=(count, len(names))) / 5 + 0.1
    outcomes = rng.choice(["ok", "ok", "ok", "error"], size=count)
    return [
        trial(
            number,
            dict(zip(names, row, strict=True)) if status == "ok" else {},
            status=str(status),
            violations={"score_drop": float(rng.choice([-1.0, 0.0, 0.5]))},
        )
        for number, (row, status) in enumerate(zip(values.tolist(), outcomes, strict=True))
    ]


def beats(first, second, objectives):
    gains = [
        (first.metrics[n] - second.metrics[n]) * (1 if way == "maximize" else -1)
        for n, way in objectives.items()
    ]
    no_worse = all(gain >= 0 for gain in gains)
    return no_worse and (any(gain > 0 for gain in gains) or first.number < second.number)


@pytest.mark.parametrize("objectives", [{"score": "maximize"}, TWO, FOUR])
@pytest.mark.parametrize("seed", range(8))
def test_front_is_what_brute_force_finds(seed, objectives):
    records = random_trials(seed, 40, list(objectives))
    feasible = [record for record in records if record.feasible]
    expected = {
        record.number
        for record in feasible
        if not any(beats(other, record, objectives) for other in feasible if other is not record)
    }
    front = pareto_front(records, objectives)
    assert {record.number for record in front} == expected
    assert [r.metrics["score"] for r in front] == sorted(
        (r.metrics["score"] for r in front), reverse=True
    )


@pytest.mark.parametrize("seed", range(4))
def test_order_of_the_records_does_not_matter(seed):
    records = random_trials(seed, 30, list(FOUR))
    shuffled = [records[i] for i in np.random.default_rng(seed).permutation(len(records))]
    assert pareto_front(shuffled, FOUR) == pareto_front(records, FOUR)
    assert hypervolume(shuffled, TWO, BASELINE) == hypervolume(records, TWO, BASELINE)
    assert hypervolume_history(shuffled, TWO, BASELINE) == hypervolume_history(
        records, TWO, BASELINE
    )


def test_of_equal_trials_the_first_stays():
    same = {"score": 0.9, "size_bytes": 10.0}
    assert [r.number for r in pareto_front([trial(5, same), trial(2, same)], TWO)] == [2]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", list(TWO))
@pytest.mark.parametrize("violation", [-1.0, 1.0])
def test_a_measured_trial_without_an_objective_is_never_ranked(name, value, violation):
    metrics = {"score": 0.9, "size_bytes": 10.0} | {name: value}
    if value is None:
        del metrics[name]
    records = [
        trial(0, {"score": 0.8, "size_bytes": 20.0}),
        trial(1, metrics, violations={"score": violation}),
    ]
    for call in (
        lambda: pareto_front(records, TWO),
        lambda: hypervolume(records, TWO, BASELINE),
        lambda: hypervolume_history(records, TWO, BASELINE),
    ):
        with pytest.raises(ValueError, match=f"trial 1 has .*{name}"):
            call()


def test_failed_trials_need_no_metrics_and_are_never_on_the_front():
    records = [trial(0, {}, status="oom"), trial(1, {"score": 0.9, "size_bytes": 9.0})]
    assert [r.number for r in pareto_front(records, TWO)] == [1]
    assert pareto_front(records[:1], TWO) == []
    assert hypervolume(records[:1], TWO, BASELINE) == 0.0


def test_unknown_direction_and_no_objectives_are_refused():
    records = [trial(0, {"score": 0.9})]
    with pytest.raises(ValueError, match="'maximize' or 'minimize', got 'max'"):
        pareto_front(records, {"score": "max"})
    with pytest.raises(ValueError, match="at least one objective"):
        pareto_front(records, {})


def test_the_baselines_score_at_zero_cost_is_worth_one():
    perfect = {"score": 0.9, "score_drop": 0.0, "size_bytes": 0.0, "latency_ratio": 0.0}
    for chosen in (TWO, {"score_drop": "minimize", "latency_ratio": "minimize"}):
        assert hypervolume([trial(0, perfect)], chosen, BASELINE) == pytest.approx(1.0)


def test_the_baseline_itself_adds_nothing():
    assert hypervolume([trial(0, BASELINE)], TWO, BASELINE) == 0.0


def test_volume_of_two_trials_is_the_union_of_their_boxes():
    # Gains 1 x 0.5 and 0.5 x 0.8, which share 0.5 x 0.5.
    records = [
        trial(0, {"score": 0.9, "size_bytes": 500.0}),
        trial(1, {"score": 0.855, "size_bytes": 200.0}),
    ]
    assert hypervolume(records, TWO, BASELINE) == pytest.approx(0.5 + 0.4 - 0.25)


def test_a_score_that_falls_with_quality_is_normalised_the_same_way():
    perplexity = {"score": "minimize", "size_bytes": "minimize"}
    baseline = {"score": 20.0, "size_bytes": 1000.0}
    records = [trial(0, {"score": 21.0, "size_bytes": 500.0})]
    assert hypervolume(records, perplexity, baseline) == pytest.approx(0.5 * 0.5)


def test_trials_beyond_the_reference_or_infeasible_add_nothing():
    records = [
        trial(0, {"score": 0.80, "size_bytes": 1.0}),
        trial(1, {"score": 0.99, "size_bytes": 1000.0}),
        trial(2, {"score": 0.99, "size_bytes": 1.0}, violations={"latency_ratio": 0.1}),
    ]
    assert hypervolume(records, TWO, BASELINE) == 0.0


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_an_objective_the_baseline_has_no_figure_of_is_refused(value):
    records = [trial(0, {"score": 0.9, "size_bytes": 1.0})]
    metrics = {"score": 0.9} if value is None else {"score": 0.9, "size_bytes": value}
    with pytest.raises(ValueError, match=r"size_bytes is .*: choose another objective"):
        hypervolume(records, TWO, metrics)


def test_an_objective_the_baseline_has_at_zero_is_counted_in_units_of_one():
    counted = {"score": "maximize", "integer_operators": "maximize"}
    records = [trial(0, {"score": 0.9, "integer_operators": 3.0})]
    baseline = BASELINE | {"integer_operators": 0.0}
    assert hypervolume(records, counted, baseline) == pytest.approx(3.0)


def test_a_relative_drop_is_worth_what_the_same_drop_of_score_is():
    records = [trial(0, {"score": 0.855, "score_drop": 0.045, "relative_drop": 0.05})]
    volumes = [
        hypervolume(records, {name: way}, BASELINE)
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
    assert hypervolume([perfect], TWO, BASELINE, reference) == pytest.approx(1.0)
    middling = trial(1, {"score": 0.875, "size_bytes": 150.0})
    assert hypervolume([middling], TWO, BASELINE, reference) == pytest.approx(0.5 * 0.25)
    assert hypervolume([middling], TWO, BASELINE, {"size_bytes": 150.0}) == 0.0
    assert hypervolume_history([middling], TWO, BASELINE, reference) == {
        1: pytest.approx(0.5 * 0.25)
    }


def test_a_reference_at_the_baselines_score_counts_what_lies_above_it():
    records = [trial(0, {"score": 0.95, "size_bytes": 500.0})]
    volume = hypervolume(records, TWO, BASELINE, {"score": 0.9})
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
    volume = hypervolume(records, objectives, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert volume == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_history_is_the_volume_after_each_trial_and_never_falls(seed):
    records = random_trials(seed, 25, list(FOUR))
    history = hypervolume_history(records, FOUR, BASELINE | {"score": 0.7, "size_bytes": 1.0})
    for count in range(1, len(records) + 1):
        expected = hypervolume(records[:count], FOUR, BASELINE | {"score": 0.7, "size_bytes": 1.0})
        assert history[count - 1] == pytest.approx(expected)
    values = list(history.values())
    assert list(history) == list(range(25))
    assert values == sorted(values)


def test_import_is_silent():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import search.pareto.front"],
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
