"""What is brought on trial by trial is what the functions over all trials say."""

import random
from dataclasses import replace

import pytest

from search.pareto.archive import ParetoArchive
from search.pareto.front import hypervolume_history, pareto_front
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize", "latency_ratio": "minimize"}


def trial(number: int, source: random.Random) -> TrialRecord:
    """Return a trial with few different figures, so that many trials are equal or beaten."""
    failed = number > 0 and source.random() < 0.1
    metrics = {
        "score": 0.85 + 0.05 * source.randrange(4),
        "size_bytes": 100.0 * source.randrange(1, 6),
        "latency_ratio": 0.25 * source.randrange(1, 5),
    }
    if number == 0:
        metrics = {"score": 0.95, "size_bytes": 500.0, "latency_ratio": 1.0}
    return TrialRecord(
        number=number,
        status="error" if failed else "ok",
        origin="sampled" if number else "baseline",
        seed=0,
        params={},
        recipe={},
        recipe_hash=str(number),
        metrics={} if failed else metrics,
        violations={"bound": source.choice([-1.0, -1.0, 0.5])} if number and not failed else {},
        started=0.0,
        finished=1.0,
    )


def trials(seed: int, count: int = 60) -> list[TrialRecord]:
    source = random.Random(seed)
    return [trial(number, source) for number in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3])
def test_front_and_hypervolume_are_those_of_all_trials_so_far(seed, count):
    objectives = dict(list(OBJECTIVES.items())[:count])
    records = trials(seed)
    standing = ParetoArchive(objectives=objectives)
    for place, record in enumerate(records, 1):
        standing.add(record)
        assert standing.front == pareto_front(records[:place], objectives)
    expected = hypervolume_history(records, objectives, records[0].metrics)
    assert standing.history == pytest.approx(expected)


def test_another_reference_is_followed():
    records, reference = trials(1), {"size_bytes": 300.0}
    standing = ParetoArchive(objectives=OBJECTIVES, reference=reference)
    for record in records:
        standing.add(record)
    expected = hypervolume_history(records, OBJECTIVES, records[0].metrics, reference)
    assert standing.history == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_trials_come_changes_nothing_in_the_end(seed):
    records = trials(seed)
    standing = ParetoArchive(objectives=OBJECTIVES)
    for record in random.Random(seed).sample(records, len(records)):
        standing.add(record)
    assert standing.front == pareto_front(records, OBJECTIVES)
    expected = hypervolume_history(records, OBJECTIVES, records[0].metrics)
    assert standing.history == pytest.approx(expected)


def test_the_history_waits_for_a_trial_that_still_runs():
    records = trials(0, 5)
    standing = ParetoArchive(objectives=OBJECTIVES)
    for record in (records[0], records[3], records[1]):
        standing.add(record)
    assert sorted(standing.history) == [0, 1]
    standing.add(records[2])
    assert sorted(standing.history) == [0, 1, 2, 3]


def test_every_trial_leaves_the_front_once_unless_it_stays():
    records = trials(2)
    standing = ParetoArchive(objectives=OBJECTIVES)
    left = [beaten.number for record in records for beaten in standing.add(record)]
    front = [record.number for record in standing.front]
    assert sorted(left + front) == [record.number for record in records]


def test_further_figures_of_a_trial_reach_the_front_and_change_nothing_else():
    records = trials(3)
    standing = ParetoArchive(objectives=OBJECTIVES)
    for record in records:
        standing.add(record)
    front, history = standing.front, dict(standing.history)
    for member in front:
        assert standing.add(scored(member)) == []
    assert standing.front == [scored(member) for member in front]
    assert standing.history == history
    beaten = next(record for record in records if record not in front)
    assert standing.add(scored(beaten)) == [scored(beaten)]
    assert beaten.number not in {member.number for member in standing.front}


def scored(record: TrialRecord) -> TrialRecord:
    return replace(record, metrics={**record.metrics, "test_score": 0.5})
