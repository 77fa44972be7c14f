"""Folders that are full or read-only, by the system itself."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@contextmanager
def no_room() -> Iterator[None]:
    """Have every write of this process to a file fail, as by a quota that is used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have a folder refuse every write; root, who may write everywhere, needs a mount for that."""
    if os.geteuid() != 0:
        before = [(path, path.stat().st_mode) for path in (folder, *folder.rglob("*"))]
        for path, mode in before:
            path.chmod(mode & 0o555)
        try:
            yield
        finally:
            for path, mode in before:
                path.chmod(mode)
        return
    with mounted(folder, "--bind", str(folder)):
        _mount("-o", "remount,bind,ro", str(folder))
        yield


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """Mount at a folder; skip the test where that is not allowed."""
    if not _mount(*arguments, str(folder)):
        pytest.skip("no file system can be mounted here: that takes Linux and its root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def can_mount() -> bool:
    """Return whether this process may mount file systems."""
    with TemporaryDirectory() as folder:
        if not _mount("-t", "tmpfs", "none", folder):
            return False
        subprocess.run(["umount", folder], check=True)
        return True


def resize(folder: Path, size: str) -> None:
    """Give a mounted tmpfs another size."""
    assert _mount("-o", f"remount,size={size}", str(folder))


def _mount(*arguments: str) -> bool:
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
