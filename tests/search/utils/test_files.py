"""Files appear whole; what killed writers leave is deleted, and what running ones write is not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.utils.files import ABANDONED_SECONDS, remove_abandoned, write_atomically


def part(folder: Path, writer: object, age: float = 0.0) -> Path:
    path = folder / f"model.onnx.{writer}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_what_a_killed_process_was_writing_is_deleted(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from search.utils.files import write_atomically\n"
        "with write_atomically(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)"
    )
    target = tmp_path / "trials" / "0003" / "outcome.json"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert [path.suffix for path in target.parent.iterdir()] == [".part"]
    remove_abandoned(tmp_path, shared=False)
    assert list(target.parent.iterdir()) == []


def test_what_a_running_process_writes_stays(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "a" / "figures.json") as file:
        file.write(b"{}")
        remove_abandoned(tmp_path, shared=False)
        remove_abandoned(tmp_path, shared=True)
    assert (tmp_path / "a" / "figures.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("shared", "age", "stays"),
    [(False, 0, False), (True, 0, True), (True, ABANDONED_SECONDS + 60, False)],
)
def test_where_other_machines_write_only_age_tells(
    shared: bool, age: float, stays: bool, tmp_path: Path
) -> None:
    left = part(tmp_path, ended_process(), age)
    remove_abandoned(tmp_path, shared=shared)
    assert left.exists() == stays


def test_another_process_with_the_number_of_the_writer_is_not_the_writer(tmp_path: Path) -> None:
    left = part(tmp_path, os.getpid(), age=7 * 24 * 3600)
    remove_abandoned(tmp_path, shared=False)
    assert not left.exists()


@pytest.mark.parametrize("writer", ["model", 2**80])
def test_a_name_without_a_process_goes_by_age_or_has_no_writer(
    writer: object, tmp_path: Path
) -> None:
    old = part(tmp_path / "old", writer, ABANDONED_SECONDS + 60)
    new = part(tmp_path / "new", writer)
    other = tmp_path / "model.onnx"
    other.write_bytes(b"whole")
    remove_abandoned(tmp_path, shared=False)
    assert not old.exists()
    assert new.exists() == (writer == "model")
    assert other.exists()
    remove_abandoned(tmp_path / "nowhere", shared=True)
