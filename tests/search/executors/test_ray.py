"""What a cluster adds to the contract of executors: machines that come and go."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from search.errors import ConfigError
from search.executors.base import Job
from search.executors.node_agent import NodeAgent, Origin
from search.executors.outcome import Outcome, read_outcome
from search.executors.travelling_files import pack, unpack

pytestmark = pytest.mark.slow  # clusters start, and machines of them are lost


def job(key: int, name: str, folder: Path, **payload: Any) -> Job:
    there = folder / str(key)
    return Job(key=key, function=f"tests.faults:{name}", payload=payload, folder=there, root=folder)


def until_ended(executor: Any, number: int, seconds: float = 120) -> dict[int, Outcome]:
    ended: dict[int, Outcome] = {}
    deadline = time.monotonic() + seconds
    while len(ended) < number and time.monotonic() < deadline:
        ended |= {job.key: outcome for job, outcome in executor.wait(1)}
    return ended


def ray_executor(cluster: Any, **arguments: Any) -> Any:
    from search.executors.ray import RayExecutor

    return RayExecutor(address=cluster.address, **arguments)


def test_a_machine_that_joins_is_used_and_one_that_is_lost_loses_nothing(
    cluster: Any, tmp_path: Path
) -> None:
    executor = ray_executor(cluster)
    try:
        for key in range(3):
            executor.submit(job(key, "ticks", tmp_path, seconds=40.0))
        while executor.slots < 3:
            executor.wait(1)
        joined = cluster.add_node(num_cpus=2)
        while executor.slots < 5:
            executor.wait(1)
        for key in (3, 4):
            executor.submit(job(key, "ticks", tmp_path, seconds=40.0))
        executor.wait(2)
        cluster.remove_node(joined, allow_graceful=False)
        lost = until_ended(executor, 2)
        assert {key: (o.status, o.repeatable) for key, o in lost.items()} == {
            3: ("crashed", True),
            4: ("crashed", True),
        }
        assert all("was lost" in outcome.error for outcome in lost.values())
        others = until_ended(executor, 3)
        assert {key: outcome.status for key, outcome in others.items()} == dict.fromkeys(
            range(3), "ok"
        )
    finally:
        executor.close()


DRIVER = """
import sys
from pathlib import Path
from search.executors.base import Job
from search.executors.ray import RayExecutor

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    executor = RayExecutor(address=sys.argv[1])
    for key in (0, 1):
        there = folder / str(key)
        payload = {"folder": str(there)}
        name = "tests.faults:writes_its_process_and_hangs"
        executor.submit(Job(key=key, function=name, payload=payload, folder=there, root=folder))
    executor.wait(600)
"""


def test_workers_on_all_machines_die_with_their_driver(cluster: Any, tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), cluster.address, str(tmp_path)]
    with subprocess.Popen(command, env=environment) as driver:
        files = [tmp_path / str(key) / "pid" for key in (0, 1)]
        deadline = time.monotonic() + 120
        while not all(file.exists() for file in files) and time.monotonic() < deadline:
            time.sleep(0.2)
        pids = [int(file.read_text()) for file in files]
        assert all(psutil.pid_exists(pid) for pid in pids)
        driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_machine_without_the_files_gets_them_and_returns_what_a_job_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "study"  # of the driver; this machine does not see it
    agent = NodeAgent(
        Origin(folder=str(tmp_path), path=(), marker=str(root / "marker")),
        {"workers": 1},
    )
    there = tmp_path / "driver"
    (there / "baseline").mkdir(parents=True)
    (there / "baseline" / "model").write_text("weights")
    asked = Job(
        key=0,
        function="tests.faults:copies",
        payload={"from": str(root / "baseline"), "to": str(root / "trials" / "0")},
        folder=root / "trials" / "0",
        root=root,
    )
    outcome, files = agent.run(asked, pack([there / "baseline" / "model"], there))
    assert (outcome.status, outcome.result) == ("ok", {"read": "weights"})
    assert files is not None
    unpack(files, there)
    assert (there / "trials" / "0" / "model").read_text() == "weights"
    assert read_outcome(there / "trials" / "0").status == "ok"
    again, files = agent.run(replace(asked, key=1), None)
    assert again.status == "ok", "what travelled once is there"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"workers": 0}, "executor.workers must be from 1 or null, got 0"),
        ({"trial_timeout": 0}, "executor.trial_timeout must be above 0 or null, got 0"),
        ({"ordered": True}, "executor.ordered needs executor.workers"),
        ({"resources": {"cpu": -1}}, "executor.resources.cpu must be at least 0, got -1"),
        ({"resources": {}}, "executor.resources must name what a job takes"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], reason: str) -> None:
    from search.executors.ray import RayExecutor

    with pytest.raises(ConfigError, match=reason):
        RayExecutor(**arguments)


def test_a_cluster_without_a_fitting_cpu_is_refused(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.executors.ray._PATIENCE_SECONDS", 3.0)
    executor = ray_executor(cluster, cpu="a CPU that nobody has")
    try:
        executor.submit(job(0, "ok", tmp_path, value=0))
        with pytest.raises(ConfigError, match="no machine of the cluster can be used"):
            until_ended(executor, 1)
    finally:
        executor.close()


def test_jobs_of_a_machine_that_falls_silent_end_before_others_repeat_them(
    cluster: Any, tmp_path: Path
) -> None:
    executor = ray_executor(cluster)
    try:
        (tmp_path / "0").mkdir()
        asked = job(0, "writes_its_process_and_hangs", tmp_path)
        executor.submit(replace(asked, payload={"folder": str(tmp_path / "0")}))
        file = tmp_path / "0" / "pid"
        deadline = time.monotonic() + 120
        while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
            executor.wait(0.2)
        pid = int(file.read_text())
        assert psutil.pid_exists(pid)
        (name,) = executor._nodes
        executor._give_up(name, "it did not answer")
        ((lost, outcome),) = executor.wait(5)
        assert (lost.key, outcome.status, outcome.repeatable) == (0, "crashed", True)
        deadline = time.monotonic() + 30
        while psutil.pid_exists(pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not psutil.pid_exists(pid)
    finally:
        executor.close()
