"""Processes that a job starts end, pause and count with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from search.executors.base import Job
from search.executors.local import LocalExecutor
from search.executors.outcome import Outcome
from tests.faults import FAMILY

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's"),
    pytest.mark.slow,  # families of processes that come up, and time limits that pass
]

DRIVER = """
import sys
from pathlib import Path
from search.executors.base import Job
from search.executors.local import LocalExecutor

executor = LocalExecutor(workers=1)
name = "tests.faults:reads_for_ever"
payload = {"folder": sys.argv[1]}
here = Path(sys.argv[1])
executor.submit(Job(key=0, function=name, payload=payload, folder=here, root=here))
executor.wait(600)
"""


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    built = LocalExecutor(workers=1)
    yield built
    built.close()


def run(executor: LocalExecutor, name: str, folder: Path) -> Outcome:
    payload = {"folder": str(folder)}
    executor.submit(
        Job(key=0, function=f"tests.faults:{name}", payload=payload, folder=folder, root=folder)
    )
    while True:
        for _, outcome in executor.wait(1):
            return outcome


def family(folder: Path) -> list[int]:
    """Return the process ids that the job has noted: its own, its loader's, and their child's."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [int(path.stem) for path in folder.glob("*.pid")]
        if len(found) == FAMILY:
            return found
        time.sleep(0.05)
    raise AssertionError(f"only {os.listdir(folder)} came up")


def assert_all_end(pids: list[int]) -> None:
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if alive(pid)] == []


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_children_of_children_end_when_the_driver_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path], env=environment) as driver:
        pids = family(tmp_path)
        assert all(map(alive, pids))
        driver.send_signal(signal.SIGKILL)
    assert_all_end(pids)


def test_children_of_children_end_with_the_time_limit(tmp_path: Path) -> None:
    executor = LocalExecutor(workers=1, trial_timeout=12)
    assert run(executor, "reads_for_ever", tmp_path).status == "timeout"
    assert_all_end(family(tmp_path))


def test_children_end_with_a_killed_worker(executor: LocalExecutor, tmp_path: Path) -> None:
    assert run(executor, "dies_while_reading", tmp_path).status == "crashed"
    assert_all_end(family(tmp_path))


@pytest.mark.fault("a trial leaves processes behind")
def test_children_end_with_a_job_that_leaves_them_behind(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    outcome = run(executor, "leaves_a_child", tmp_path)
    assert outcome.result is not None
    assert_all_end([outcome.result["child"]])


@pytest.mark.fault("a child process of a trial takes the memory")
def test_the_memory_of_children_counts(tmp_path: Path) -> None:
    executor = LocalExecutor(workers=1, memory_mb=900, trial_timeout=60)
    assert run(executor, "child_eats_memory", tmp_path).status == "oom"


def test_a_loaders_processes_are_forked_on_linux(executor: LocalExecutor, tmp_path: Path) -> None:
    outcome = run(executor, "start_method", tmp_path)
    assert outcome.result is not None
    assert (outcome.result["method"] == "fork") == (sys.platform == "linux")


@pytest.mark.fault("the watchdog of the workers is killed")
def test_a_killed_watchdog_is_replaced(executor: LocalExecutor) -> None:
    executor.wait(0)
    first = executor._watchdog
    assert first is not None
    os.kill(first._process.pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while executor._watchdog is first and time.monotonic() < until:
        executor.wait(0.05)
    assert executor._watchdog is not first
    assert executor._watchdog.alive
