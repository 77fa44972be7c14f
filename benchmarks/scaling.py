"""How many workers one driver keeps busy: the real driver against clusters that are simulated.

    python -m benchmarks.scaling [--quick] [--workers N ...] [--study FOLDER] [--tracking NAME]

The driver is the real one, with its sampler, journal, mirror, front and tables. Trials take no
time: they end on a simulated clock, which also runs on by what the driver takes of the real one, so
that a slow driver leaves workers idle as it would on a cluster. Durations have a median of a minute
and a heavy tail, as recorded in `--study` or log-normal; 2 % of the trials fail, half of them for a
reason outside the recipe; every ten minutes a twentieth of the workers die with their trials and as
many join. A run ends after some trials per worker.

Utilisation is the busy share of all workers from the moment when all are busy for the first time
until the last trial is asked for; the delay is what a free worker waits for its next trial. Driver
CPU is that of its process over simulated time: 1 is one core. The last line is JSON with
utilisation, CPU, the delay and memory by number of workers.
"""

import argparse
import heapq
import itertools
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.json_line import print_json_line
from benchmarks.overhead import result_of
from search.config.compose import compose_search
from search.executors.base import Job
from search.executors.outcome import Outcome
from search.study.run import run_study
from search.study.terminal import Display
from search.trial.messages import TrialRequest

MEDIAN = 60.0
"""Seconds of a trial."""
SIGMA = 0.7
"""Of the logarithm of the seconds, where none were recorded."""
FAILING = 0.02
CHURN_SECONDS = 600.0
CHURN = 0.05
TRIALS_PER_WORKER = 4
LEAST_TRIALS, MOST_TRIALS = 200, 12_000
STARTED_AT = 1_700_000_000.0
"""Unix time of the simulated clock at the start."""


@dataclass(kw_only=True)
class Cluster:
    """An executor whose jobs end on a simulated clock."""

    workers: int
    durations: Sequence[float]
    """Seconds that trials are drawn from."""
    trials: int
    """Number of trials of the study; the window ends when the last one is asked for."""
    threads: int = 1
    ordered: bool = False
    now: float = 0.0
    """Simulated seconds."""
    delays: list[float] = field(default_factory=list)
    """Simulated seconds that a freed worker waited for its next trial."""
    busy: float = 0.0
    """Worker-seconds of trials under way, in the window that is measured."""
    window: float = 0.0
    """Seconds of this window."""
    lost: int = 0
    _seen: float = field(default_factory=time.perf_counter)
    _draw: random.Random = field(default_factory=lambda: random.Random(0))
    _order: Any = field(default_factory=itertools.count)
    _running: dict[int, tuple[Job, float]] = field(default_factory=dict)
    """By order of the start, jobs under way with the time when they began."""
    _ends: list[tuple[float, int]] = field(default_factory=list)
    _freed: list[float] = field(default_factory=list)
    _full: bool = False
    """Whether the window has begun and not ended."""
    _last_asked: bool = False
    _churned: float = 0.0

    @property
    def slots(self) -> int:
        """Number of workers; those that die are replaced."""
        return self.workers

    def prepare(self) -> None:
        """Do nothing."""

    def submit(self, job: Job) -> None:
        """Start a job."""
        self._run_on()
        order, seconds = next(self._order), 0.0
        if job.function == TrialRequest.job:
            seconds = self._draw.choice(self.durations)
            if self._freed and self._full:
                self.delays.append(self.now - self._freed.pop(0))
        self._running[order] = (job, self.now)
        heapq.heappush(self._ends, (self.now + seconds, order))
        self._last_asked = self._last_asked or job.key == self.trials - 1
        full = self._full or len(self._running) == self.workers
        self._full = full and not self._last_asked

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """Return what ended by now; else let the clock run to the next end."""
        self._run_on()
        ended = self._churn()
        while self._ends and self._ends[0][1] not in self._running:
            heapq.heappop(self._ends)
        if not ended and self._ends and self._ends[0][0] > self.now:
            self._advance(min(seconds, self._ends[0][0] - self.now))
        while self._ends and self._ends[0][0] <= self.now:
            order = heapq.heappop(self._ends)[1]
            if order in self._running:
                ended.append(self._end(order, self._fate()))
        self._seen = time.perf_counter()
        return ended

    def close(self) -> None:
        """Do nothing."""

    def _run_on(self) -> None:
        """Let the simulated clock run by what the driver took since the last call."""
        real = time.perf_counter()
        self._advance(real - self._seen)
        self._seen = real

    def _advance(self, seconds: float) -> None:
        self.now += seconds
        if self._full:
            self.busy += seconds * min(len(self._running), self.workers)
            self.window += seconds

    def _churn(self) -> list[tuple[Job, Outcome]]:
        """Lose some workers with their trials, from time to time."""
        if self.now - self._churned < CHURN_SECONDS or len(self._running) < self.workers // 2:
            return []
        self._churned = self.now
        dying = self._draw.sample(sorted(self._running), round(CHURN * len(self._running)))
        self.lost += len(dying)
        return [self._end(order, "lost") for order in dying]

    def _fate(self) -> str:
        drawn = self._draw.random()
        return "lost" if drawn < FAILING / 2 else "error" if drawn < FAILING else "ok"

    def _end(self, order: int, fate: str) -> tuple[Job, Outcome]:
        job, began = self._running.pop(order)
        times = {"started": STARTED_AT + began, "finished": STARTED_AT + self.now}
        if job.function != TrialRequest.job or job.key == 0:
            fate = "ok"
        else:
            self._freed.append(self.now)
        if fate == "lost":
            return job, Outcome(status="crashed", error="the worker died", repeatable=True, **times)
        if fate == "error":
            return job, Outcome(status="error", error="ValueError: made up", **times)
        return job, Outcome(status="ok", result=result_of(job), subject=job.subject, **times)


def measure(workers: int, durations: Sequence[float], tracking: str) -> dict[str, float]:
    """Return what one driver did with some workers."""
    trials = min(max(LEAST_TRIALS, TRIALS_PER_WORKER * workers), MOST_TRIALS)
    with TemporaryDirectory() as folder:
        given = [f"runs_dir={folder}", f"trials={trials}", f"tracking={tracking}"]
        config = compose_search(["task=digits", "objectives=score_size_latency", *given])
        cluster = Cluster(workers=workers, durations=durations, trials=trials)
        began = time.process_time()
        result = run_study(config, cluster, Display(console=Console(quiet=True)))
        seconds = time.process_time() - began
        journal = (config.folder / "journal.log").stat().st_size
    numbers = [record.number for record in result.records]
    if numbers != list(range(trials)):
        raise RuntimeError(f"{trials} trials were asked for, and {len(set(numbers))} are there")
    return {
        "trials": trials,
        "utilisation": cluster.busy / (cluster.window * workers) if cluster.window else 0.0,
        "driver_cpu": seconds / cluster.now,
        "cpu_ms_per_trial": 1e3 * seconds / trials,
        "delay_s": statistics.median(cluster.delays) if cluster.delays else 0.0,
        "journal_kb_per_trial": journal / 1e3 / trials,
        "memory_mb": psutil.Process().memory_info().rss / 2**20,
        "lost": cluster.lost,
    }


def recorded(folder: Path | None) -> list[float]:
    """Return durations of trials with a median of `MEDIAN` seconds."""
    if folder is None:
        draw = random.Random(1)
        seconds = [draw.lognormvariate(0.0, SIGMA) for _ in range(10_000)]
    else:
        from paredown import load_study

        trials = load_study(folder).trials
        seconds = [trial.metrics["seconds"] for trial in trials if "seconds" in trial.metrics]
    middle = statistics.median(seconds)
    return [MEDIAN * one / middle for one in seconds]


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10, 100 and 400 workers")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000, 5000])
    parser.add_argument("--study", type=Path, help="folder of a study whose durations are used")
    parser.add_argument("--tracking", choices=["none", "mlflow"], default="mlflow")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    durations = recorded(options.study)
    rows = {}
    for workers in [10, 100, 400] if options.quick else options.workers:
        rows[workers] = measure(workers, durations, options.tracking)
        values = ", ".join(f"{name} {value:.4g}" for name, value in rows[workers].items())
        print(f"{workers} workers: {values}", flush=True)
    table = Table("workers", *next(iter(rows.values())))
    for workers, row in rows.items():
        table.add_row(str(workers), *(f"{value:.4g}" for value in row.values()))
    Console(width=120).print(table)
    print_json_line(
        {"workers": {str(n): {k: round(v, 4) for k, v in row.items()} for n, row in rows.items()}},
        options.out,
    )


if __name__ == "__main__":
    main()
