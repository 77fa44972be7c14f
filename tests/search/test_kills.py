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
from tests.search.test_cli import MINE, SHORT, runs_of

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("PAREDOWN_KILLS", "4"))
KILLS_OF_A_SWEEP = 4
TRIALS = 20
MARK = "PAREDOWN_KILL_TEST"
LONGEST_WAIT = 5.0
"""Seconds from a launch or a kill to the next kill; a trial takes about one."""
GONE_AFTER = 5.0
"""Seconds after which no process of a killed sweep may be left."""


def launch(arguments: list[str], folder: Path, mark: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), MARK: mark}
    return subprocess.Popen(
        [sys.executable, "-m", "search.cli", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes of a sweep, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def victims(
    what: str, driver: "subprocess.Popen[bytes]", mark: str, draw: random.Random
) -> list[psutil.Process]:
    """Return the driver, some workers, or both, in the order in which they are killed."""
    workers = [p for p in marked(mark) if p.pid != driver.pid]
    leaders = [p for p in workers if os.getpgid(p.pid) == p.pid] if workers else []
    some = draw.sample(leaders, draw.randint(1, len(leaders))) if leaders else []
    chosen = [psutil.Process(driver.pid)] if what != "workers" else []
    chosen += some if what != "driver" else []
    return draw.sample(chosen, len(chosen))


def assert_gone(mark: str) -> None:
    until = time.monotonic() + GONE_AFTER
    while left := marked(mark):
        assert time.monotonic() < until, [process.cmdline() for process in left]
        time.sleep(0.1)


@pytest.mark.slow  # sweeps that are killed and launched again
@pytest.mark.parametrize("sweep", range(-(-KILLS // KILLS_OF_A_SWEEP)))
def test_a_sweep_survives_kills(sweep: int, user_folder: Path) -> None:
    draw = random.Random(sweep)
    name = f"killed-{sweep}"
    arguments = ["search", *MINE, *SHORT, f"trials={TRIALS}", f"study={name}", "timeout=600"]
    kills, mark = 0, uuid.uuid4().hex
    driver = launch(arguments, user_folder, mark)
    while kills < KILLS_OF_A_SWEEP:
        try:
            assert driver.wait(draw.uniform(0, LONGEST_WAIT)) in (0, -signal.SIGKILL)
        except subprocess.TimeoutExpired:
            what = draw.choice(["driver", "workers", "both"])
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
    records = load_study(name, user_folder / "runs").trials
    assert [record.number for record in records] == list(range(TRIALS))
    assert len({trial.record.recipe_hash for trial in records}) == TRIALS
    frame = pd.read_parquet(user_folder / "runs" / name / "trials.parquet")
    assert list(frame["number"]) == list(range(TRIALS))
    mirrored = [int(run.data.tags["paredown.trial"]) for run in runs_of(user_folder, name)]
    assert sorted(mirrored) == list(range(TRIALS))
