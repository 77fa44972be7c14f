"""A sweep and an export on a disk that is full or read-only end in one line, and go on later."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

from paredown import load_study
from tests.disks import can_mount, mounted, read_only, resize
from tests.search.test_cli import MINE, PAREDOWN, ROOT, SHORT

pytestmark = pytest.mark.slow  # sweeps

TRIALS = 8
SEARCH = ["search", *MINE, *SHORT, "tracking=none", f"trials={TRIALS}", "runs_dir=disk/runs"]
LITTLE = "350k"
"""Size of a file system on which the sweep needs more before it has half of its trials."""
LITTLE_A_FILE = 12_000
"""Size that a file may have, where no file system can be mounted: the journal grows beyond it."""


@dataclass
class Said:
    code: int
    errors: list[str] = field(default_factory=list)


def paredown(folder: Path, *arguments: str, file_bytes: int | None = None) -> Said:
    """Run a command whose files may have so many bytes, all of its processes included."""

    def limit() -> None:
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    done = subprocess.run(
        [*PAREDOWN, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
        preexec_fn=limit,
        check=False,
    )
    return Said(done.returncode, done.stderr.splitlines())


@dataclass
class Sweep:
    folder: Path
    """The user's folder; the study is in `disk/runs`."""
    without_room: Said
    trials_then: int
    with_room: Said


@pytest.fixture(scope="module")
def swept(user_folder: Path) -> Iterator[Sweep]:
    """A sweep that ran out of room and was launched again when there was some."""
    disk = user_folder / "disk"
    disk.mkdir()
    with ExitStack() as stack:
        real = can_mount()
        if real:
            stack.enter_context(mounted(disk, "-t", "tmpfs", "-o", f"size={LITTLE}", "none"))
        first = paredown(user_folder, *SEARCH, file_bytes=None if real else LITTLE_A_FILE)
        then = len(load_study("mine", disk / "runs").trials)
        if real:
            resize(disk, "64m")
        yield Sweep(user_folder, first, then, paredown(user_folder, *SEARCH))


@pytest.mark.fault("the disk of a study is full in mid-sweep")
def test_a_full_disk_ends_a_sweep_and_with_room_it_goes_on(swept: Sweep) -> None:
    assert swept.without_room.code == 2
    (line,) = swept.without_room.errors
    assert "No space left on device" in line or "File too large" in line
    assert "mend that, then the same command goes on" in line
    assert 0 < swept.trials_then < TRIALS
    assert swept.with_room == Said(0)
    frame = pd.read_parquet(swept.folder / "disk" / "runs" / "mine" / "trials.parquet")
    assert list(frame["number"]) == list(range(TRIALS))
    assert set(frame["status"]) == {"ok"}, "no trial failed for want of room"


@pytest.mark.fault("the folder of a study is read-only")
def test_a_read_only_study_is_refused_and_kept(swept: Sweep) -> None:
    before = {p: p.read_bytes() for p in (swept.folder / "disk").rglob("*.*") if p.is_file()}
    with read_only(swept.folder / "disk"):
        said = paredown(swept.folder, *SEARCH, "trials=9")
    assert said.code == 2
    (line,) = said.errors
    assert "Read-only file system" in line or "Permission denied" in line
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.fault("an export finds no room")
@pytest.mark.fault("an export's folder has files of something else")
def test_an_export_is_written_where_there_is_room_and_nothing_else(swept: Sweep) -> None:
    export = ["export", "study=mine", "runs_dir=disk/runs", "select=knee"]
    (swept.folder / "taken").mkdir()
    (swept.folder / "taken" / "README.md").write_text("mine")
    refused = paredown(swept.folder, *export, "output=taken")
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert "taken has files" in refused.errors[0]
    assert [path.name for path in (swept.folder / "taken").iterdir()] == ["README.md"]
    full = paredown(swept.folder, *export, "output=written", file_bytes=40_000)
    assert (full.code, len(full.errors)) == (2, 1)
    assert "File too large" in full.errors[0]
    assert paredown(swept.folder, *export, "output=written") == Said(0)
    assert (swept.folder / "written" / "README.md").exists()


@pytest.mark.fault("the output cannot be written")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device of this system is full")
def test_a_command_whose_output_is_full_is_one_line(swept: Sweep) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PAREDOWN, "front", "study=mine", "runs_dir=disk/runs"],
            cwd=swept.folder,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
