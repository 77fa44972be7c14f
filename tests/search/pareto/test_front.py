"""Which of equal trials stays on the front, and what cannot be ranked."""

import math
import subprocess
import sys

import numpy as np
import pytest

from search.pareto.archive import ParetoArchive, archive_of
from search.pareto.front import pareto_front
from search.trial_record import TrialRecord

TWO = {"score": "maximize", "size_bytes": "minimize"}
FOUR = TWO | {"latency_ratio": "minimize", "score_drop": "minimize"}


def trial(number, metrics, *, status="ok", violations=None, origin="sampled"):
    return TrialRecord(
        number=number,
        status=status,
        origin=origin,
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
        lambda: archive_of(records, TWO),
        lambda: ParetoArchive(objectives=TWO).add(records[1]),
    ):
        with pytest.raises(ValueError, match=f"trial 1 has .*{name}"):
            call()


def test_failed_trials_need_no_metrics_and_are_never_on_the_front():
    records = [trial(0, {}, status="oom"), trial(1, {"score": 0.9, "size_bytes": 9.0})]
    assert [r.number for r in pareto_front(records, TWO)] == [1]
    assert pareto_front(records[:1], TWO) == []


def test_unknown_direction_and_no_objectives_are_refused():
    for records in ([trial(0, {"score": 0.9})], []):
        for call in (pareto_front, archive_of):
            with pytest.raises(ValueError, match="'maximize' or 'minimize', got 'max'"):
                call(records, {"score": "max"})
            with pytest.raises(ValueError, match="at least one objective"):
                call(records, {})


def test_import_is_silent():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import search.pareto.front"],
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
