"""Errors of a machine that lacks something: memory, room on a disk, files, a working file system.

The same work succeeds when it is there again.
"""

import errno
import sqlite3
import sys
from collections.abc import Iterator

from search.utils.failure_cause import message_of

LACKING = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "ENFILE", "EMFILE", "ESTALE")
    if hasattr(errno, name)
)
"""Error numbers: no space, quota used up, file larger than allowed, file system read-only or
broken, too many open files, a network share that went away."""
SQLITE_LACKING = frozenset(
    (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
)
"""SQLite's primary result codes for the same."""
ALLOCATOR_TEXTS = (
    "DefaultCPUAllocator:",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "MPS backend out of memory",
)
"""What torch says when memory is refused and it has no type for that."""


def lacking_status(error: BaseException) -> str | None:
    """Return the status of a job that failed because the machine lacks something.

    Args:
        error: The job's error; one that led to it counts too.

    Returns:
        `oom` if it is memory, which may be the job's own fault; `environment` if it is anything
        else; None if the machine lacks nothing.
    """
    errors = list(_chain(error))
    if any(map(_of_memory, errors)):
        return "oom"
    return "environment" if any(map(_of_files, errors)) else None


def _of_memory(error: BaseException) -> bool:
    # An error of torch comes from a job that has imported it.
    refused = getattr(sys.modules.get("torch"), "OutOfMemoryError", MemoryError)
    if isinstance(error, MemoryError | refused):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(
        text in message_of(error) for text in ALLOCATOR_TEXTS
    )


def _of_files(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in SQLITE_LACKING
    return isinstance(error, OSError) and error.errno in LACKING


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
