"""Files that are written whole or not at all, and the folder of downloads and baselines."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil
from platformdirs import user_cache_path

ABANDONED_SECONDS = 3600
"""Age from which on an unfinished file belongs to no running process."""


@contextmanager
def write_atomically(path: Path) -> Iterator[IO[Any]]:
    """Open a binary file that appears under its name only when it is complete.

    Missing parent folders are created.
    """
    with replaced_when_written(path) as part, part.open("wb") as file:
        yield file


@contextmanager
def replaced_when_written(path: Path) -> Iterator[Path]:
    """Give the path of an unfinished file, which takes the place of a file when the block ends.

    Its name ends with the id of this process and `.part`, by which `remove_abandoned` finds it
    after a kill. Missing parent folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove_abandoned(folder: Path, *, shared: bool) -> None:
    """Delete the unfinished files below a folder that killed processes left.

    Args:
        folder: It may be missing; what cannot be deleted stays.
        shared: Whether processes of other machines write there too. Then only age tells that a
            file is abandoned; else its writer has ended.
    """
    for part in folder.rglob("*.part"):
        with suppress(OSError):  # another process deletes too
            if is_abandoned(part, shared=shared):
                part.unlink()


def is_abandoned(part: Path, *, shared: bool) -> bool:
    """Return whether nobody goes on with an unfinished file.

    Raises:
        OSError: It is gone, or cannot be looked at.
    """
    written = part.stat().st_mtime
    writer = re.search(r"\.(\d+)\.part$", part.name)
    if shared or writer is None:
        return written < time.time() - ABANDONED_SECONDS
    try:
        # A process that began after the last write has the number of the writer, and is another.
        return psutil.Process(int(writer[1])).create_time() > written
    except psutil.AccessDenied:
        return False
    except (psutil.NoSuchProcess, OverflowError):
        return True


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the user's cache folder: `$PAREDOWN_CACHE`, or the platform's default."""
    chosen = os.environ.get("PAREDOWN_CACHE")
    return Path(chosen) if chosen else user_cache_path("paredown")
