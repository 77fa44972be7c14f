"""Files that are either whole or not there, and where downloads and trained baselines are kept."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from platformdirs import user_cache_path


@contextmanager
def write_atomically(path: Path) -> Iterator[IO[Any]]:
    """Open a file for binary writing that appears under its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Return the user's cache folder: $PAREDOWN_CACHE, or the platform's usual place."""
    chosen = os.environ.get("PAREDOWN_CACHE")
    return Path(chosen) if chosen else user_cache_path("paredown")
