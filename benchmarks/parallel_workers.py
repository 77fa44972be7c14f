"""Trials per minute with two workers beside one, and beside two independent processes.

    python -m benchmarks.parallel_workers [--quick] [--trials N] [--repeats N] [--out FILE]

Both numbers of workers measure the same recipes, drawn at random and trained in full, each with a
cache that holds only the trained baseline. Start-up does not count: the clock runs from the start
of trial 1 to the end of the last trial. The machine's own speed-up is that of two such studies with
one worker each, side by side: it shows what two processes cost each other without a common driver.
Repeats are interleaved in rotating order; results are medians. The last line is JSON with both
speed-ups.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.json_line import print_json_line
from benchmarks.timed_arms import ROOT, beginner, warm_up
from search.study.journal_file import read_journal

TASK = ("task=digits",)
EQUAL = (
    "warm_start=false",
    "mutate_front=false",
    "sampler=random",
    "rungs.count=1",
    "refuse_early=false",
    "cache_prefixes=false",
)
"""Overrides without which the recipes would depend on the number of workers."""


def trials_per_minute(workers: int, trials: int, seed: int) -> float:
    """Run a separate study and return its trials per minute.

    Raises:
        RuntimeError: The study failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        command = [sys.executable, "-m", "search.cli", "search", *TASK, *EQUAL, "study=run"]
        command += [f"runs_dir={folder}", f"seed={seed}", f"trials={trials}"]
        done = subprocess.run(
            [*command, f"executor.workers={workers}"],
            cwd=ROOT,
            env=beginner(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        records = read_journal(folder / "run", {}).records()[1:]
    began, ended = min(r.started for r in records), max(r.finished for r in records)
    return 60 * len(records) / (ended - began)


def side_by_side(trials: int, seed: int) -> float:
    """Return the trials per minute of two studies of one worker each, together."""
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda _: trials_per_minute(1, trials, seed), range(2))
        return sum(both)


def measure(trials: int, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Return the trials per minute with each seed, by way."""
    ways = {
        "one worker": lambda seed: trials_per_minute(1, trials, seed),
        "two workers": lambda seed: trials_per_minute(2, trials, seed),
        "two studies": lambda seed: side_by_side(trials, seed),
    }
    paces: dict[str, list[float]] = {name: [] for name in ways}
    for seed in seeds:
        turned = list(ways)[seed % len(ways) :] + list(ways)[: seed % len(ways)]
        for name in turned:
            paces[name].append(ways[name](seed))
            pace = f"{paces[name][-1]:.1f} trials per minute"
            print(f"seed {seed}, {name}: {pace}", flush=True)
    return paces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repeat of ten trials")
    parser.add_argument(
        "--trials", type=int, default=30, help="trials of each study, with the baseline's"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args()
    warm_up(TASK)
    trials, repeats = (10, 1) if options.quick else (options.trials, options.repeats)
    paces = measure(trials, range(repeats))
    ratios = {
        name: statistics.median(
            many / one for many, one in zip(paces[of], paces["one worker"], strict=True)
        )
        for name, of in {"speed_up": "two workers", "of_the_machine": "two studies"}.items()
    }
    print_json_line({name: round(ratio, 3) for name, ratio in ratios.items()}, options.out)


if __name__ == "__main__":
    main()
