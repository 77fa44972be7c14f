import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from search.errors import ConfigError
from search.executors.base import Executor, Job
from search.executors.local import LocalExecutor
from search.executors.outcome import Outcome
from search.executors.process_tree import tree_memory_mb

FAULTS = {
    "ok": "ok",
    "infeasible": "infeasible",
    "loads_data": "ok",
    "error": "error",
    "not_a_number": "error",
    "segfault": "crashed",
    "killed": "crashed",
    "hang": "timeout",
    "memory_eater": "oom",
    "dies_holding": "crashed",
    "full_disk": "environment",
    "no_room": "environment",
    "no_memory": "oom",
    "refused_by_torch": "oom",
    "leaves_python": "error",
    "leaves_at_once": "crashed",
    "no_exception": "error",
    "unprintable": "error",
    "undecodable": "error",
}


pytestmark = pytest.mark.slow  # processes that hang and hold, and time limits that pass


def job(key: int, name: str, folder: Path, **payload: Any) -> Job:
    return Job(
        key=key,
        function=f"tests.faults:{name}",
        payload=payload,
        folder=folder / str(key),
        root=folder,
    )


def run_all(executor: Executor, jobs: list[Job]) -> dict[int, Outcome]:
    waiting, outcomes = list(jobs), {}
    under_way = 0
    while waiting or under_way:
        while waiting and under_way < executor.slots:
            executor.submit(waiting.pop(0))
            under_way += 1
        for ended, outcome in executor.wait(1):
            outcomes[ended.key] = outcome
            under_way -= 1
    return outcomes


@pytest.mark.fault(
    "a worker crashes in native code",
    "a trial hangs",
    "a trial calls `sys.exit`",
    "a trial calls `os._exit`",
    "a trial raises what is no `Exception`",
    "a message has many lines",
    "a message is no text",
    "an error cannot be printed",
    "torch, CUDA or NumPy is refused memory",
    "a worker cannot write its outcome",
)
def test_each_fault_ends_its_own_job_alone(executor: Executor, tmp_path: Path) -> None:
    names = [name for fault in FAULTS for name in (fault, "ok")]
    jobs = [job(i, name, tmp_path, value=i) for i, name in enumerate(names)]
    outcomes = run_all(executor, jobs)
    kinds = {i: outcome.status for i, outcome in outcomes.items()}
    assert kinds == {i: FAULTS[name] for i, name in enumerate(names)}
    pids = [o.result["pid"] for o in outcomes.values() if o.result]
    assert len(set(pids)) == len(pids), "every job has a process of its own"
    assert all(outcomes[i].result["echo"] == i for i, n in enumerate(names) if n == "ok")
    assert outcomes[names.index("loads_data")].result["sum"] == 15
    assert "RuntimeError: the trial is broken" in outcomes[names.index("error")].error
    segfault = outcomes[names.index("segfault")].error.splitlines()[-1]
    assert re.fullmatch(r"the worker ended with signal SIGSEGV at .*ctypes.*:\d+ in .*", segfault)
    repeatable = {names[i] for i, outcome in outcomes.items() if outcome.repeatable}
    passing = {"segfault", "killed", "dies_holding", "full_disk", "no_room", "no_memory"}
    assert repeatable == passing | {"leaves_at_once", "refused_by_torch"}
    causes = {names[i]: outcome.cause for i, outcome in outcomes.items()}
    assert re.match(r"SystemExit: 3, in line \d+ of .*faults.py: sys.exit", causes["leaves_python"])
    assert "the worker ended with exit code 3" in outcomes[names.index("leaves_at_once")].error
    assert "first line\nsecond line\n\nlast line" in outcomes[names.index("no_exception")].error
    assert "\n" not in causes["no_exception"]
    assert causes["unprintable"].startswith("Unprintable")
    assert "a line of the user's own" in (tmp_path / "0" / "log.txt").read_text()


def test_others_are_paused_while_one_holds_the_machine(executor: Executor, tmp_path: Path) -> None:
    jobs = [
        job(0, "holds", tmp_path, before=0.5, seconds=1.0),
        job(1, "ticks", tmp_path, seconds=3.0),
        job(2, "holds", tmp_path, before=0.5, seconds=1.0),
    ]
    results = {i: o.result for i, o in run_all(executor, jobs).items()}
    first, second = sorted((r["began"], r["ended"]) for r in (results[0], results[2]))
    assert first[1] <= second[0], "only one holds the machine"
    for began, ended in (first, second):
        during = [t for t in results[1]["seen"] if began + 0.1 < t < ended - 0.1]
        assert during == []


def test_a_pause_does_not_count_against_the_time_limit(tmp_path: Path) -> None:
    executor = LocalExecutor(workers=2, trial_timeout=2.5)
    jobs = [
        job(0, "holds", tmp_path, before=0.2, seconds=2.0),
        job(1, "ticks", tmp_path, seconds=1.5),
    ]
    assert {o.status for o in run_all(executor, jobs).values()} == {"ok"}
    executor.close()


DRIVER = """
import sys
from pathlib import Path
from search.executors.base import Executor, Job
from search.executors.local import LocalExecutor

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    executor = LocalExecutor(workers=2)
    for key in (0, 1):
        name = "tests.faults:hang"
        there = folder / str(key)
        executor.submit(Job(key=key, function=name, payload={}, folder=there, root=folder))
    print([running.process.pid for running in executor._running], flush=True)
    executor.wait(600)
"""


def test_workers_die_with_their_driver(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, env=environment
    ) as driver:
        assert driver.stdout is not None
        pids = eval(driver.stdout.readline())
        time.sleep(1)
        assert all(psutil.pid_exists(pid) for pid in pids)
        driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", ["workers", "threads", "trial_timeout", "memory_mb"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"executor.{name} must be .*, got 0"):
        LocalExecutor(**{name: 0})


@pytest.mark.fault("a clock is set forward or back")
@pytest.mark.parametrize("set_by", [7200, -7200])
def test_a_clock_that_is_set_ends_no_job(
    set_by: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = LocalExecutor(workers=1, trial_timeout=6)
    executor.submit(job(0, "ticks", tmp_path, seconds=1.0))
    real = time.time
    monkeypatch.setattr("search.executors.local.time.time", lambda: real() + set_by)
    ended: list[tuple[Job, Outcome]] = []
    while not ended:
        ended = executor.wait(1)
    executor.close()
    ((_, outcome),) = ended
    assert outcome.status == "ok"
    assert 0 < outcome.finished - outcome.started < 60


@pytest.mark.fault("a trial runs out of memory beside others")
def test_where_memory_runs_out_the_largest_job_goes_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = LocalExecutor(workers=3, trial_timeout=60)

    def runs_out() -> bool:
        return sum(tree_memory_mb(running.pid) for running in executor._running) > 3000

    monkeypatch.setattr("search.executors.local.lacks_memory", runs_out)
    jobs = [
        job(0, "ticks", tmp_path, seconds=3.0),
        job(1, "child_eats_memory", tmp_path),
        job(2, "segfault", tmp_path),
        job(3, "ok", tmp_path, value=3),
    ]
    try:
        outcomes = run_all(executor, jobs)
    finally:
        executor.close()
    assert {key: o.status for key, o in outcomes.items()} == {
        0: "ok",
        1: "oom",
        2: "crashed",
        3: "ok",
    }
    assert "the machine ran out of memory" in outcomes[1].error


@pytest.mark.fault("memory and segfaults at once beside healthy trials")
def test_healthy_jobs_have_the_same_results_beside_ones_that_break(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    healthy = [job(seed, "trains", tmp_path / "alone", seed=seed) for seed in range(3)]
    alone = run_all(executor, healthy)
    beside = [job(seed, "trains", tmp_path / "beside", seed=seed) for seed in range(3)]
    broken = [job(10, "child_eats_memory", tmp_path), job(11, "segfault", tmp_path)]
    together = run_all(executor, [broken[0], beside[0], broken[1], *beside[1:]])
    assert {key: together[key].status for key in (10, 11)} == {10: "oom", 11: "crashed"}
    results = [alone[seed].result for seed in range(3)]
    assert None not in results
    assert [together[seed].result for seed in range(3)] == results
