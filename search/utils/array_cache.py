"""Arrays that are computed once per machine and kept on disk by a key of all they depend on."""

import contextlib
import os
import struct
import sys
import tokenize
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.lib.format import write_array
from numpy.typing import NDArray

from search.utils.files import is_abandoned, write_atomically

Arrays = dict[str, NDArray[Any]]
_unusable: set[Path] = set()

UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, ArithmeticError, MemoryError),
    *(RuntimeError, zipfile.BadZipFile, struct.error, tokenize.TokenError),
)
"""Errors of numpy and zipfile for a file that is missing, cut short or damaged."""
NAMES = "/names"
"""The member that lists the others, in order."""
UNUSABLE = (OSError, NotImplementedError)
"""Errors of a folder that cannot be written, is full, or cannot be locked."""


@dataclass(frozen=True, kw_only=True)
class ArrayCache:
    """Named arrays by a key of all they depend on, shared by every process of a machine.

    An entry is one uncompressed npz file without pickled objects, with a checksum of each array,
    written whole or not at all. A damaged entry is computed again. Two processes that need the same
    new entry compute it once: the second waits. A killed process leaves no lock behind. A folder
    that cannot be read or written is said once by each process, which goes on without it.
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
        with self._locked(path):
            known = _read(path)  # another process may have been faster
            if known is not None:
                return known
            arrays = {name: np.asarray(array) for name, array in compute().items()}
            self._keep(path, arrays)
        return arrays

    def keep(self, key: str, arrays: Arrays) -> None:
        """Keep the arrays of a key in place of those before, unless they take half the limit."""
        self._keep(self._path(key), arrays)

    def find(self, key: str) -> Arrays | None:
        """Return the arrays of a key, None if there is no entry."""
        return _read(self._path(key))

    def forget(self, key: str) -> None:
        """Delete the entry of a key, if there is one."""
        with self._usable():
            self._path(key).unlink(missing_ok=True)

    def _keep(self, path: Path, arrays: Arrays) -> None:
        if sum(array.nbytes for array in arrays.values()) > self.limit_bytes // 2:
            return
        with self._usable():
            _write(path, arrays)
            self._evict(path)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Hold the lock of an entry, unless the folder has no place for one."""
        lock = FileLock(path.with_suffix(".lock"))
        with self._usable():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Go on where the folder cannot be used; each process says so once."""
        try:
            yield
        except UNUSABLE as error:
            if self.folder not in _unusable:
                _unusable.add(self.folder)
                print(f"the cache {self.folder} is not used: {error}", file=sys.stderr, flush=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{sha256(key.encode()).hexdigest()}.npz"

    def _evict(self, newest: Path) -> None:
        """Delete the least recently used entries, and unfinished files of killed processes."""
        found = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process deletes too
                status = path.stat()
                if path.suffix == ".part" and is_abandoned(path, shared=True):
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
            names = kept[NAMES].tolist()  # a damaged directory may lack some
            arrays = {name: kept[name] for name in names}
    except UNREADABLE:
        return None
    with contextlib.suppress(OSError):  # a folder that is only read keeps no order of use
        os.utime(path)
    return arrays


def _write(path: Path, arrays: Arrays) -> None:
    with write_atomically(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in {NAMES: np.array(list(arrays), dtype=str), **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                write_array(member, array, allow_pickle=False)
