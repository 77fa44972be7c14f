"""Files that are written whole or not at all, and the folder of downloads and baselines."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from platformdirs import user_cache_path


@contextmanager
def write_atomically(path: Path) -> Iterator[IO[Any]]:
    """Open a binary file that appears under its name only when it is complete.

    Missing parent folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the user's cache folder: `$PAREDOWN_CACHE`, or the platform's default."""
    chosen = os.environ.get("PAREDOWN_CACHE")
    return Path(chosen) if chosen else user_cache_path("paredown")
