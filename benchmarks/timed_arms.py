"""One search in a separate process on one core, and the times at which it measured its trials.

An arm begins with a cache that holds only data and trained baselines, so that sensitivities and
teacher outputs count as its own cost. Its clock starts with its process: imports and the baseline's
measurement count too. CPU time is that of the whole process tree, read every second; that of ended
processes is known only on Linux.
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
from search.study.journal_file import read_journal
from search.tasks.loading import load_task
from search.utils.files import cache_folder

ROOT = Path(__file__).parent.parent
GIVEN = ("baselines", "mnist")
"""Folders of the user's cache that every arm receives."""
STUDY = "run"
LATE_SECONDS = 300.0
"""Seconds after its time at which an arm that still runs counts as hanging."""

Rows = Sequence[Mapping[str, float]]
"""Metrics of the baseline and of every measured trial, with `finished`, a unix time."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to search: a hand-written loop with a sampler, or Paredown with overrides."""

    sampler: str = ""
    """Sampler of the hand-written loop; empty for Paredown."""
    overrides: tuple[str, ...] = ()
    """Overrides of `paredown search`."""


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
    "no-prefix-cache": Arm(overrides=("cache_prefixes=false",)),
    "no-mutation": Arm(overrides=("mutate_front=false",)),
    "random-sampler": Arm(overrides=("sampler=random",)),
}
"""Paredown without each of its ingredients; `rungs` adds one that is off by default."""


def warm_up(task: Sequence[str]) -> None:
    """Fetch the task's data and train its baseline, in the user's cache."""
    load_task(compose_search(task).task)


def run_arm(
    arm: Arm, task: Sequence[str], *, seed: int, seconds: float, core: int | None
) -> Trajectory:
    """Run one arm and return the trials that it measured in its time.

    Args:
        arm: The way to search.
        task: Overrides that choose the task.
        seed: Seed of the study; the task keeps its own.
        seconds: Time from the launch of the process, in seconds.
        core: Core that the process is bound to; None to leave the choice to the system.

    Raises:
        RuntimeError: The arm failed or hangs.
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
    """Return an environment of one thread, with a cache that holds only the folders of `GIVEN`."""
    for name in GIVEN:
        if (cache_folder() / name).exists():
            shutil.copytree(cache_folder() / name, folder / "cache" / name)
    return os.environ | {"OMP_NUM_THREADS": "1", "PAREDOWN_CACHE": str(folder / "cache")}


def trajectory(
    rows: Rows, readings: Sequence[tuple[float, float]], launched: float, seconds: float
) -> Trajectory:
    """Return the trials that ended in time, with the CPU time at their ends."""
    wall, cpu = np.array(readings).T
    points = []
    for row in sorted(rows[1:], key=lambda row: row["finished"]):
        since = row["finished"] - launched
        if since <= seconds:
            spent = float(np.interp(since, wall, cpu))
            metrics = {name: row[name] for name in ("score", "size_bytes", "latency_ratio")}
            points.append(Point(seconds=since, cpu_seconds=spent, **metrics))
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
    """Run a command to its end; return pairs of seconds since its launch and CPU seconds."""
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
        output_end = (folder / "output.txt").read_text()[-2000:]
        raise RuntimeError(
            f"{' '.join(command)} ended with code {process.returncode}:\n{output_end}"
        )
    return readings


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, also of those that have ended."""
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
    records = [r for r in read_journal(folder / STUDY, {}).records() if r.status == "ok"]
    kept = [r for r in records if r.feasible or r is records[0]]
    return [{**r.metrics, "finished": r.finished} for r in kept]
