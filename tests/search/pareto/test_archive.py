"""The front and the history that grow trial by trial are those of all trials at once."""

import random
from dataclasses import replace

import pytest

from search.pareto.archive import ParetoArchive, archive_of
from search.trial_record import TrialRecord
from tests.search.pareto import reference

OBJECTIVES = {
    "score": "maximize",
    "size_bytes": "minimize",
    "latency_ratio": "minimize",
    "relative_drop": "minimize",
}


def trial(number: int, source: random.Random) -> TrialRecord:
    """Return a trial with few different metrics, so that many trials are equal or dominated."""
    failed = number > 0 and source.random() < 0.1
    metrics = {
        "score": 0.85 + 0.05 * source.randrange(4),
        "size_bytes": 100.0 * source.randrange(1, 6),
        "latency_ratio": 0.25 * source.randrange(1, 5),
        "relative_drop": 0.04 * source.randrange(-1, 4),
    }
    if number == 0:
        metrics = {
            "score": 0.95,
            "size_bytes": 500.0,
            "latency_ratio": 1.0,
            "relative_drop": 0.0,
        }
    return TrialRecord(
        number=number,
        status=source.choice(["error", "oom", "stopped"]) if failed else "ok",
        origin="sampled" if number else "baseline",
        seed=0,
        params={},
        recipe={},
        recipe_hash=str(number),
        metrics={} if failed else metrics,
        violations={"bound": source.choice([-1.0, 0.0, 0.5])} if number and not failed else {},
        started=0.0,
        finished=1.0,
    )


def trials(seed: int, count: int = 60) -> list[TrialRecord]:
    source = random.Random(seed)
    return [trial(number, source) for number in range(count)]


def test_another_reference_is_followed() -> None:
    records, other = trials(1), {"size_bytes": 300.0}
    archive = archive_of(records, OBJECTIVES, other)
    assert archive.history == pytest.approx(
        reference.history(records, OBJECTIVES, other), abs=1e-12
    )
    assert archive.history != archive_of(records, OBJECTIVES).history


def test_the_history_waits_for_a_trial_that_still_runs() -> None:
    records = trials(0, 5)
    archive = ParetoArchive(objectives=OBJECTIVES)
    for record in (records[0], records[3], records[1]):
        archive.add(record)
    assert sorted(archive.history) == [0, 1]
    archive.add(records[2])
    assert sorted(archive.history) == [0, 1, 2, 3]


def test_the_history_of_a_batch_passes_over_trials_that_still_run() -> None:
    records = [record for record in trials(0, 30) if record.number not in (3, 4, 17)]
    history = archive_of(records, OBJECTIVES).history
    assert history == pytest.approx(reference.history(records, OBJECTIVES), abs=1e-12)
    assert list(history) == [record.number for record in records]


def test_without_a_measured_baseline_there_is_a_front_and_no_history() -> None:
    records = trials(0)
    failed = replace(records[0], status="error", metrics={})
    for given in (records[1:], [failed, *records[1:]]):
        for archive in (archive_of(given, OBJECTIVES), ParetoArchive(objectives=OBJECTIVES)):
            for record in given:
                archive.add(record)
            assert archive.front == reference.front_by_definition(given, OBJECTIVES)
            assert archive.history == {}


def test_further_metrics_of_a_trial_reach_the_front_and_change_nothing_else() -> None:
    records = trials(3)
    archive = ParetoArchive(objectives=OBJECTIVES)
    for record in records:
        archive.add(record)
    front, history = archive.front, dict(archive.history)
    for member in front:
        assert archive.add(scored(member)) == []
    assert archive.front == [scored(member) for member in front]
    assert archive.history == history
    dominated = next(record for record in records if record not in front)
    assert archive.add(scored(dominated)) == [scored(dominated)]
    assert dominated.number not in {member.number for member in archive.front}


def scored(record: TrialRecord) -> TrialRecord:
    return replace(record, metrics={**record.metrics, "test_score": 0.5})
