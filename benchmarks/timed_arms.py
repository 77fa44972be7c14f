"""One search as a process of its own on one core, and what it had measured at which time.

An arm begins with a cache that holds only data and trained baselines, so that probes and teacher
outputs are its own cost. Its clock starts with its process: imports and the baseline's measurement
count. CPU time is that of the whole process tree, read every second while it runs; of processes
that have ended it is known on Linux alone.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.trajectory import Point, Trajectory
from search.config.compose import compose_search
from search.study.journal import read_store
from search.tasks.loading import load_task
from search.utils.files import cache_folder

ROOT = Path(__file__).parent.parent
GIVEN = ("baselines", "mnist")
"""Folders of the user's cache that every arm is given."""
STUDY = "run"
LATE_SECONDS = 300.0
"""How long after its time an arm may end; then it hangs."""

Rows = Sequence[Mapping[str, float]]
"""Figures of the baseline and of every measured trial, with `finished`, a unix time."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to search: a hand-written loop with a sampler, or Paredown with overrides."""

    sampler: str = ""
    """Of the hand-written loop; empty for Paredown."""
    overrides: tuple[str, ...] = ()
    """Of `paredown search`."""


ARMS = {
    "loop": Arm(sampler="tpe"),
    "paredown": Arm(),
    "random": Arm(sampler="random"),
    "nsga2": Arm(sampler="nsga2"),
    "post-training": Arm(overrides=("steps.distil.epochs=0", "steps.tune.epochs=0")),
}
ABLATIONS = {
    "no-warm-start": Arm(overrides=("warm_start=false",)),
    "rungs": Arm(overrides=("rungs.count=3",)),
    "no-refusal": Arm(overrides=("refuse_early=false",)),
    "no-reuse": Arm(overrides=("cache_prefixes=false",)),
    "no-variation": Arm(overrides=("mutate_front=false",)),
    "random-sampler": Arm(overrides=("sampler=random",)),
}
"""Without each ingredient; `rungs` is with one that is off by default."""


def warm_up(task: Sequence[str]) -> None:
    """Have the task's data fetched and its baseline trained, in the user's cache."""
    load_task(compose_search(task).task)


def run_arm(
    arm: Arm, task: Sequence[str], *, seed: int, seconds: float, core: int | None
) -> Trajectory:
    """Run one arm and return what it measured in its time.

    Arguments:
        arm: the way to search.
        task: overrides that choose the task.
        seed: of the study; the task keeps its own.
        seconds: from the launch of its process.
        core: the core that it is kept on; None to leave that to the system.

    Raises:
        RuntimeError: the arm failed or hangs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = beginner(folder)
        launched = time.time()
        if arm.sampler:
            command = _loop_command(arm, task, seed, launched + seconds, folder)
        else:
            command = _search_command(arm, task, seed, seconds, folder)
        readings = _run(command, environment, folder, core, seconds + LATE_SECONDS)
        rows = _loop_rows(folder) if arm.sampler else _search_rows(folder)
    return trajectory(rows, readings, launched, seconds)


def beginner(folder: Path) -> dict[str, str]:
    """Return an environment of one thread with a cache that holds only what is given."""
    for name in GIVEN:
        if (cache_folder() / name).exists():
            shutil.copytree(cache_folder() / name, folder / "cache" / name)
    return os.environ | {"OMP_NUM_THREADS": "1", "PAREDOWN_CACHE": str(folder / "cache")}


def trajectory(
    rows: Rows, readings: Sequence[tuple[float, float]], launched: float, seconds: float
) -> Trajectory:
    """Join trials and readings, and cut off what ended too late."""
    wall, cpu = np.array(readings).T
    points = []
    for row in sorted(rows[1:], key=lambda row: row["finished"]):
        since = row["finished"] - launched
        if since <= seconds:
            spent = float(np.interp(since, wall, cpu))
            figures = {name: row[name] for name in ("score", "size_bytes", "latency_ratio")}
            points.append(Point(seconds=since, cpu_seconds=spent, **figures))
    return Trajectory(
        score=rows[0]["score"],
        size_bytes=rows[0]["size_bytes"],
        seconds=seconds,
        points=tuple(points),
    )


def _loop_command(
    arm: Arm, task: Sequence[str], seed: int, until: float, folder: Path
) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.hand_written_loop"]
    command += ["--task", json.dumps(compose_search(task).task), "--sampler", arm.sampler]
    return [*command, f"--seed={seed}", f"--until={until}", f"--out={folder / 'loop.jsonl'}"]


def _search_command(
    arm: Arm, task: Sequence[str], seed: int, seconds: float, folder: Path
) -> list[str]:
    command = [sys.executable, "-m", "search.cli", "search", *task, *arm.overrides]
    command += [f"runs_dir={folder}", f"study={STUDY}", f"seed={seed}"]
    return [*command, "executor.workers=1", "trials=100000", f"timeout={seconds}"]


def _run(
    command: list[str], environment: Mapping[str, str], folder: Path, core: int | None, limit: float
) -> list[tuple[float, float]]:
    """Run a command to its end; return its CPU seconds by the seconds since its launch."""
    launched = time.monotonic()
    readings = [(0.0, 0.0)]
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        while process.poll() is None:
            now = time.monotonic() - launched
            readings.append((now, max(readings[-1][1], _cpu_seconds(process.pid))))
            if now > limit:
                process.kill()
            time.sleep(1)
    if process.returncode != 0:
        said = (folder / "output.txt").read_text()[-2000:]
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}:\n{said}")
    return readings


def _cpu_seconds(pid: int) -> float:
    """Return what a process, its descendants, and those of them that ended have spent."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    spent = 0.0
    for process in tree:
        try:
            spent += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return spent


def _loop_rows(folder: Path) -> Rows:
    return [json.loads(line) for line in (folder / "loop.jsonl").read_text().splitlines()]


def _search_rows(folder: Path) -> Rows:
    """Return what was measured and keeps within the bounds, after the baseline, which may not."""
    records = [r for r in read_store(folder / STUDY, {}).records() if r.status == "ok"]
    kept = [r for r in records if r.feasible or r is records[0]]
    return [{**r.metrics, "finished": r.finished} for r in kept]
