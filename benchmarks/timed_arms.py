"""One search in a separate process on one core, and the times at which it measured its trials.

An arm begins with a cache that holds only data and trained baselines, so that sensitivities and
teacher outputs count as its own cost. The baseline's measurement counts too. Paredown's clock
starts with its process, so that imports count; a hand-written loop's starts when its task is
loaded, so that it pays for nothing of Paredown's. CPU time is that of the whole process tree, read
every second; that of ended processes is known only on Linux.
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
from typing import Any

import numpy as np
import psutil

from benchmarks.loop_family import LOOPS, LoopSettings
from benchmarks.trajectory import Point, Trajectory
from search.config.compose import compose_search
from search.study.journal_file import read_journal
from search.tasks.loading import load_task
from search.utils.files import cache_folder

ROOT = Path(__file__).parent.parent
GIVEN = ("baselines", "mnist", "packages", "spoken-words-1.npz", "review-tokens-1.npz")
"""Folders and files of the user's cache that every arm receives."""
STUDY = "run"
LOOP_FILE = "loop.jsonl"
LATE_SECONDS = 300.0
"""Seconds after its time at which an arm that still runs counts as hanging."""

Rows = Sequence[Mapping[str, float]]
"""Metrics of the baseline and of every measured trial, with `finished`, a unix time."""
Readings = Sequence[tuple[float, float]]
"""Pairs of seconds since the launch of a process and CPU seconds until then."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to search: a hand-written loop with a sampler, or Paredown with overrides."""

    loop: LoopSettings | None = None
    """Settings of the hand-written loop; None for Paredown."""
    overrides: tuple[str, ...] = ()
    """Overrides of `paredown search`."""


ARMS = {
    **{name: Arm(loop=settings) for name, settings in LOOPS.items()},
    "paredown": Arm(),
    "random": Arm(loop=LoopSettings(sampler="random")),
    "nsga2": Arm(loop=LoopSettings(sampler="nsga2")),
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
        limit = seconds + LATE_SECONDS
        launched = time.time()
        if arm.loop is not None:
            command = loop_command(arm.loop, compose_search(task).task, folder / LOOP_FILE)
            command += [f"--seed={seed}", f"--seconds={seconds}"]
            readings = run_command(command, environment, folder, limit, core)
            began, rows = read_loop(folder / LOOP_FILE)
            return trajectory(rows, since(readings, began - launched), began, seconds)
        command = _search_command(arm, task, seed, seconds, folder)
        readings = run_command(command, environment, folder, limit, core)
        return trajectory(_search_rows(folder), readings, launched, seconds)


def beginner(folder: Path) -> dict[str, str]:
    """Return an environment of one thread, with a cache in a folder that holds only `GIVEN`."""
    (folder / "cache").mkdir(parents=True)
    for name in GIVEN:
        source, there = cache_folder() / name, folder / "cache" / name
        if source.is_dir():
            shutil.copytree(source, there)
        elif source.exists():
            shutil.copy(source, there)
    return os.environ | {"OMP_NUM_THREADS": "1", "PAREDOWN_CACHE": str(folder / "cache")}


def since(readings: Readings, moment: float) -> Readings:
    """Return readings whose clocks both start at a moment, in seconds since the launch."""
    wall, cpu = np.array(readings).T
    spent = float(np.interp(moment, wall, cpu))
    return [(at - moment, value - spent) for at, value in readings]


def trajectory(rows: Rows, readings: Readings, began: float, seconds: float) -> Trajectory:
    """Return the trials that ended in time, with the CPU time at their ends.

    Args:
        rows: The baseline's first.
        readings: Whose clocks start with the search's.
        began: Unix time at which the search's clock started.
        seconds: The search's time.
    """
    wall, cpu = np.array(readings).T
    points = []
    for row in sorted(rows[1:], key=lambda row: row["finished"]):
        after = row["finished"] - began
        if after <= seconds:
            spent = float(np.interp(after, wall, cpu))
            metrics = {name: row[name] for name in ("score", "size_bytes", "latency_ratio")}
            points.append(Point(seconds=after, cpu_seconds=spent, **metrics))
    return Trajectory(
        score=rows[0]["score"],
        size_bytes=rows[0]["size_bytes"],
        seconds=seconds,
        points=tuple(points),
    )


def loop_command(settings: LoopSettings, node: Mapping[str, Any], out: Path) -> list[str]:
    """Return the command of a hand-written loop on the task of a composed node."""
    command = [sys.executable, "-m", "benchmarks.hand_written_loop"]
    return [*command, "--task", json.dumps(node), *settings.arguments(), f"--out={out}"]


def _search_command(
    arm: Arm, task: Sequence[str], seed: int, seconds: float, folder: Path
) -> list[str]:
    command = [sys.executable, "-m", "search.cli", "search", *task, *arm.overrides]
    command += [f"runs_dir={folder}", f"study={STUDY}", f"seed={seed}"]
    return [*command, "executor.workers=1", "trials=100000", f"timeout={seconds}"]


def run_command(
    command: list[str],
    environment: Mapping[str, str],
    folder: Path,
    limit: float,
    core: int | None = None,
) -> Readings:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        environment: As `beginner` returns it.
        folder: Where its output is written.
        limit: Seconds after which it counts as hanging.
        core: Core that the process is bound to; None to leave the choice to the system.

    Raises:
        RuntimeError: It failed or hangs; the message ends with its output.
    """
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


def read_loop(path: Path) -> tuple[float, Rows]:
    """Return when the clock of a loop started, and its rows, the baseline's first.

    Several processes have written into the file: the clock is that of the first, and the baseline
    counts once.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    began = min(line["started"] for line in lines if "started" in line)
    rows = [line for line in lines if "started" not in line]
    return began, [*[r for r in rows if not r["steps"]][:1], *[r for r in rows if r["steps"]]]


def _search_rows(folder: Path) -> Rows:
    """Return what was measured and keeps within the bounds, after the baseline, which may not."""
    records = [r for r in read_journal(folder / STUDY, {}).records() if r.status == "ok"]
    kept = [r for r in records if r.feasible or r is records[0]]
    return [{**r.metrics, "finished": r.finished} for r in kept]
