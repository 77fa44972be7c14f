"""Paredown's search beside the loops that a user would write by hand, at equal time.

    python -m benchmarks.search_efficiency [--quick] [--ablations] [--runs DIR] [--out FILE]

Every arm is one process on one core with one worker, from an empty cache but for the trained
baseline. All see the same task, compressors and validation data, on which they are compared;
the test data are not touched. Seeds are interleaved over arms. A hypervolume is 1 for a model
without an error at a thousandth of the bytes, or at no latency, and 0 where the error is 0.1 above
the baseline's. The loops are a family (`benchmarks/loop_family.py`), of which the best counts: the
one with the highest final hypervolume of a seed and plane. The time ratio is the time at which that
loop reached its final hypervolume over the time at which Paredown reached it: the median over
seeds, on the plane where it is smaller. Random and evolutionary loops run with --arms.

With --runs every trajectory is kept in a folder, and a benchmark that was stopped resumes there;
use another folder for other code.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from benchmarks.comparison import finals, print_comparison, print_growth, summary
from benchmarks.json_line import print_json_line
from benchmarks.loop_family import LOOPS
from benchmarks.timed_arms import ABLATIONS, ARMS, Arm, run_arm, warm_up
from benchmarks.trajectory import PLANES, Trajectory, read_trajectory, write_trajectory

COMPARED = ("digits", "mnist_lenet5", "resnet20_digits16")
TASKS: Mapping[str, tuple[str, ...]] = {
    "digits": ("task=digits",),
    "mnist_lenet5": (
        "task=mnist_lenet5",
        "task.train_images=5000",
        "task.recovery_epochs=4",
        "task.tuning_epochs=1",
    ),
    "resnet20_digits16": (
        "task=digits",
        "task._target_=benchmarks.digits16.resnet20_digits16",
        "task.recovery_epochs=4",
        "task.tuning_epochs=1",
    ),
    "digits_bounded": ("task=digits", "constraints.size_bytes<=2000"),
}
"""Overrides by task; the last is for the ablation of early refusal, which acts on constraints."""
DEFAULT_ARMS = (*LOOPS, "paredown", "post-training")
SEEDS, SECONDS = 3, 120.0
QUICK_SEEDS = 3
QUICK_ARMS = ("loop-full-8", "loop-2-1-first", "paredown")
"""Two loops that differ in every setting, and Paredown."""
QUICK_SECONDS = 570.0
"""Time of all arms of a quick run together, in seconds."""
LOOP_ENDS_AFTER, SEARCH_ENDS_AFTER = 10.0, 25.0
"""Approximate seconds of an arm beside its time: a loop's start, Paredown's last trial and report.
"""


def measure(
    task: str, asked: Sequence[tuple[str, int]], seconds: float, jobs: int, runs: Path
) -> dict[str, list[Trajectory]]:
    """Run the arms with seeds that have no trajectory yet, each job on a separate core."""
    warm_up(TASKS[task])
    cores: SimpleQueue[int | None] = SimpleQueue()
    known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    for place in range(jobs):
        cores.put(known[place % len(known)] if known else None)

    def run(name: str, seed: int) -> Trajectory:
        path = runs / f"{task}-{name}-{seconds:g}s-seed{seed}.json"
        if not path.exists():
            core = cores.get()
            try:
                found = run_arm(
                    {**ARMS, **ABLATIONS}[name], TASKS[task], seed=seed, seconds=seconds, core=core
                )
            finally:
                cores.put(core)
            write_trajectory(found, path)
            volumes = [f"{finals([found], plane)[0]:.3f} ({plane})" for plane in PLANES]
            print(f"{path.stem}: {len(found.points)} trials, {', '.join(volumes)}", flush=True)
        return read_trajectory(path)

    with ThreadPoolExecutor(jobs) as pool:
        running = [(name, pool.submit(run, name, seed)) for name, seed in asked]
        try:
            done = [(name, future.result()) for name, future in running]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    names = dict.fromkeys(name for name, _ in asked)
    return {name: [found for other, found in done if other == name] for name in names}


def quick_runs() -> list[tuple[str, int]]:
    """Return arms with seeds: two loops of the family, which leaves more time for each."""
    return [(name, seed) for seed in range(QUICK_SEEDS) for name in QUICK_ARMS]


def quick_seconds(arms: Sequence[Arm], jobs: int) -> float:
    """Return the seconds of an arm for which a quick run ends within `QUICK_SECONDS`.

    A job is idle at most while the last arm runs. The run therefore ends at the latest after the
    jobs' shares of the other arms' time plus the time of the longest arm (Graham, 1966).
    """
    late = [LOOP_ENDS_AFTER if arm.loop else SEARCH_ENDS_AFTER for arm in arms]
    left = QUICK_SECONDS * jobs - sum(late) - (jobs - 1) * max(late)
    return left // (len(late) + jobs - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits, three seeds, ten minutes")
    parser.add_argument("--ablations", action="store_true", help="Paredown without each ingredient")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(COMPARED))
    parser.add_argument(
        "--arms", nargs="+", choices=[*ARMS, *ABLATIONS], default=list(DEFAULT_ARMS)
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="number of seeds")
    parser.add_argument("--seconds", type=float, help=f"time of every arm, {SECONDS:g} by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="arms side by side")
    parser.add_argument("--runs", type=Path, help="keep trajectories here, and resume from them")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args()
    names = [*options.arms, *(ABLATIONS if options.ablations else ())]
    names = [name for name in (*ARMS, *ABLATIONS) if name in names]
    asked = [(name, seed) for seed in range(options.seeds) for name in names]
    seconds = options.seconds or SECONDS
    if options.quick:
        options.tasks, asked = ["digits"], quick_runs()
        seconds = options.seconds or quick_seconds([ARMS[name] for name, _ in asked], options.jobs)
    entries = {}
    with tempfile.TemporaryDirectory() as scratch:
        runs = options.runs or Path(scratch)
        runs.mkdir(parents=True, exist_ok=True)
        for task in options.tasks:
            print(f"\n{task}: {len(asked)} runs of {seconds:g} s, {options.jobs} jobs", flush=True)
            found = measure(task, asked, seconds, options.jobs, runs)
            print_growth(found)
            print_comparison(found)
            entries[task] = summary(found)
    print_json_line(entries, options.out)


if __name__ == "__main__":
    main()
