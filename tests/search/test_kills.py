"""Kills of driver and workers at random moments lose nothing, double nothing, leave nothing.

`PAREDOWN_KILLS=60 pytest -m slow tests/search/test_kills.py` kills as often as that.
"""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pandas as pd
import psutil
import pytest

from paredown import load_study
from tests.processes import MARK, assert_gone, kill, marked
from tests.search.test_cli import MINE, SHORT, runs_of

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("PAREDOWN_KILLS", "4"))
KILLS_OF_A_SWEEP = 4
KINDS = ["measuring", "driver", "workers", "both"]
"""What is killed; `measuring` is the driver with the worker for whose measurement others pause."""
TRIALS = 20
LONGEST_WAIT = 5.0
"""Seconds from a launch or a kill to the next kill; a trial takes about one."""


def launch(arguments: list[str], folder: Path, mark: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), MARK: mark}
    return subprocess.Popen(
        [sys.executable, "-m", "search.cli", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def victims(
    what: str, driver: "subprocess.Popen[bytes]", mark: str, draw: random.Random
) -> list[psutil.Process]:
    """Return the driver, some workers, or both, in the order in which they are killed."""
    workers = [p for p in marked(mark) if p.pid != driver.pid]
    leaders = [p for p in workers if os.getpgid(p.pid) == p.pid] if workers else []
    some = draw.sample(leaders, draw.randint(1, len(leaders))) if leaders else []
    if what == "measuring":
        some = measuring(leaders)
    chosen = [psutil.Process(driver.pid)] if what != "workers" else []
    chosen += some if what != "driver" else []
    return draw.sample(chosen, len(chosen))


def measuring(leaders: list[psutil.Process]) -> list[psutil.Process]:
    """Wait until one measures latency; return all leaders of groups that are not paused for it."""
    until = time.monotonic() + LONGEST_WAIT
    while time.monotonic() < until:
        running = [p for p in leaders if status(p) not in (psutil.STATUS_STOPPED, None)]
        if any(status(p) == psutil.STATUS_STOPPED for p in leaders):
            return running
    return []


def status(process: psutil.Process) -> str | None:
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return None


def assert_each_trial_once(name: str, folder: Path, trials: int) -> None:
    """Check that study, table and tracker have every trial of a study in `runs`, and once."""
    records = load_study(name, folder / "runs").trials
    assert [record.number for record in records] == list(range(trials))
    assert len({trial.record.recipe_hash for trial in records}) == trials
    frame = pd.read_parquet(folder / "runs" / name / "trials.parquet")
    assert list(frame["number"]) == list(range(trials))
    mirrored = [int(run.data.tags["paredown.trial"]) for run in runs_of(folder, name)]
    assert sorted(mirrored) == list(range(trials))


@pytest.mark.fault("`kill -9` of the driver, of workers, of both")
@pytest.mark.slow  # sweeps that are killed and launched again
@pytest.mark.parametrize("sweep", range(-(-KILLS // KILLS_OF_A_SWEEP)))
def test_a_sweep_survives_kills(sweep: int, user_folder: Path) -> None:
    draw = random.Random(sweep)
    name = f"killed-{sweep}"
    arguments = ["search", *MINE, *SHORT, f"trials={TRIALS}", f"study={name}", "timeout=600"]
    arguments += ["latency.rounds=100"]  # a fifth of a second in which a kill may fall
    kills, mark = 0, uuid.uuid4().hex
    driver = launch(arguments, user_folder, mark)
    while kills < KILLS_OF_A_SWEEP:
        try:
            assert driver.wait(draw.uniform(0, LONGEST_WAIT)) in (0, -signal.SIGKILL)
        except subprocess.TimeoutExpired:
            what = KINDS[kills % len(KINDS)]
            kill(victims(what, driver, mark, draw))
            kills += 1
            if what == "workers":
                continue
            driver.wait()
            assert_gone(mark)
        else:
            break  # it was faster
        mark = uuid.uuid4().hex
        driver = launch(arguments, user_folder, mark)
    assert driver.wait(300) == 0
    assert_gone(mark)
    assert kills > 0
    assert_each_trial_once(name, user_folder, TRIALS)
