"""The simulated cluster of benchmarks/scaling.py keeps its clock and counts busy workers."""

from pathlib import Path

import pytest

from benchmarks.scaling import Cluster
from search.executors.base import Job
from search.trial.messages import TrialRequest


def trial(number: int) -> Job:
    payload = {"recipe": {"steps": {}}}
    here = Path()
    return Job(key=number, function=TrialRequest.job, payload=payload, folder=here, root=here)


def test_time_passes_by_trials_and_busy_workers_are_counted_until_the_last_is_asked_for() -> None:
    cluster = Cluster(workers=2, durations=[1000.0], trials=5)
    for number in (0, 1):
        cluster.submit(trial(number))
    assert {job.key for job, _ in cluster.wait(1e9)} <= {0, 1}
    while cluster._running:
        cluster.wait(1e9)
    assert cluster.now == pytest.approx(1000, abs=5)
    cluster.submit(trial(2))  # one worker of two is busy for as long again
    while cluster._running:
        cluster.wait(1e9)
    assert cluster.now == pytest.approx(2000, abs=10)
    assert cluster.busy == pytest.approx(3000, abs=20)
    assert cluster.window == pytest.approx(2000, abs=10)
    cluster.submit(trial(4))  # the last one
    while cluster._running:
        cluster.wait(1e9)
    assert cluster.now == pytest.approx(3000, abs=15)
    assert cluster.window == pytest.approx(2000, abs=10)
