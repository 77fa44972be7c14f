"""Arrays that are computed once per machine and kept on disk by a key of all they depend on."""

import contextlib
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.lib.format import write_array
from numpy.typing import NDArray

from search.utils.files import write_atomically

Arrays = dict[str, NDArray[Any]]

UNREADABLE = (zipfile.BadZipFile, ValueError, EOFError, OSError)
"""Errors of numpy for a file that is missing, cut short or damaged."""
ABANDONED_SECONDS = 3600
"""Age from which on an unfinished file belongs to no running process."""


@dataclass(frozen=True, kw_only=True)
class ArrayCache:
    """Named arrays by a key of all they depend on, shared by every process of a machine.

    An entry is one uncompressed npz file without pickled objects, written whole or not at all. A
    damaged entry is computed again. Two processes that need the same new entry compute it once:
    the second waits. A killed process leaves no lock behind.
    """

    folder: Path
    limit_bytes: int = 2 * 2**30
    """Size of all entries above which the least recently used ones are deleted."""

    def get(self, key: str, compute: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
        """Return the arrays of a key: read back, or computed now and kept.

        An entry of more than half the limit is returned and not kept.

        Args:
            key: Names everything that the arrays depend on.
            compute: Returns named arrays of any shapes.

        Raises:
            ValueError: A computed array holds Python objects.
        """
        path = self._path(key)
        known = _read(path)
        if known is not None:
            return known
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            known = _read(path)  # another process may have been faster
            if known is not None:
                return known
            arrays = {name: np.asarray(array) for name, array in compute().items()}
            self._keep(path, arrays)
        self._evict(path)
        return arrays

    def keep(self, key: str, arrays: Arrays) -> None:
        """Keep the arrays of a key in place of those before, unless they take half the limit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        self._keep(path, arrays)
        self._evict(path)

    def find(self, key: str) -> Arrays | None:
        """Return the arrays of a key, None if there is no entry."""
        return _read(self._path(key))

    def forget(self, key: str) -> None:
        """Delete the entry of a key, if there is one."""
        self._path(key).unlink(missing_ok=True)

    def _keep(self, path: Path, arrays: Arrays) -> None:
        if sum(array.nbytes for array in arrays.values()) <= self.limit_bytes // 2:
            _write(path, arrays)

    def _path(self, key: str) -> Path:
        return self.folder / f"{sha256(key.encode()).hexdigest()}.npz"

    def _evict(self, newest: Path) -> None:
        """Delete the least recently used entries, and unfinished files of killed processes."""
        found = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process deletes too
                status = path.stat()
                if path.suffix == ".part" and status.st_mtime < time.time() - ABANDONED_SECONDS:
                    path.unlink()
                if path.suffix == ".npz" and path != newest:
                    found.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in found) - self.limit_bytes
        excess += newest.stat().st_size if newest.exists() else 0
        for _, size, path in sorted(found):
            if excess <= 0:
                return
            # Windows does not delete a file that another process has open; the next eviction does.
            with contextlib.suppress(PermissionError):
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
            excess -= size


def _read(path: Path) -> Arrays | None:
    """Return the arrays of a file and mark it as used; None if it cannot be read."""
    try:
        with path.open("rb") as file, np.load(file) as kept:
            arrays = {name: kept[name] for name in kept.files}
        os.utime(path)
    except UNREADABLE:
        return None
    return arrays


def _write(path: Path, arrays: Arrays) -> None:
    with write_atomically(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                write_array(member, array, allow_pickle=False)
