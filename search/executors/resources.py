"""Errors of a machine that lacks something: room on a disk, files, memory, a working file system.

The same work succeeds when it is there again.
"""

import errno
from collections.abc import Iterator

LACKING = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ENFILE", "EMFILE", "ENOMEM", "ESTALE")
    if hasattr(errno, name)
)
"""Error numbers: no space, quota used up, file system read-only or broken, too many open files, no
memory, a network share that went away."""


def lacks_resources(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, says that the machine lacks something."""
    return any(isinstance(e, OSError) and e.errno in LACKING for e in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
