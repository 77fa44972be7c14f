"""Starting child processes that import their own job and nothing of the caller's script."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from types import ModuleType

SAFE_PATH = "PYTHONSAFEPATH"
_OURS = "paredown"
"""Its value where we set it; Python asks only whether there is one."""
_ONE_AT_A_TIME = threading.Lock()
"""Studies in several threads share `sys.modules` and the environment."""


@contextmanager
def own_imports_only() -> Iterator[None]:
    """Start child processes in this block, and the server that they are forked from.

    `multiprocessing` has a child import the caller's `__main__` again by its file or its name, so
    that a script without `if __name__ == "__main__"` would run once more in each. A job is plain
    data and names its function by module, so that the block shows `multiprocessing` an empty
    `__main__`. The server would also put the working folder first on its path, where a user's
    `search.py` hides our package; children get the caller's path either way.
    """
    with _ONE_AT_A_TIME:
        script = sys.modules["__main__"]
        ours = SAFE_PATH not in os.environ
        sys.modules["__main__"] = ModuleType("__main__")
        os.environ.setdefault(SAFE_PATH, _OURS)
        try:
            yield
        finally:
            sys.modules["__main__"] = script
            if ours:
                del os.environ[SAFE_PATH]


def restore_environment() -> None:
    """Take back, in a child, what `own_imports_only` set: the job may start Python too."""
    if os.environ.get(SAFE_PATH) == _OURS:
        del os.environ[SAFE_PATH]


def use_own_start_method() -> None:
    """Have a child on Linux fork the processes that its job starts, such as a data loader's.

    It would take over from `multiprocessing` the method that it was started with: each process of
    a loader would then come from a server of its own and import torch again, which takes seconds
    in every pass over the data. Elsewhere a fork is not safe, and the method stays.
    """
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork", force=True)


def let_server_end() -> None:
    """Have the server that this child was forked from end with the driver, not with the child.

    Every child holds an end of a pipe for as long as which the server lives. A paused child that
    outlives its driver would hold it for ever. Once the server has ended, the system sends paused
    children that are left SIGHUP and SIGCONT, as all members of a stopped group without a parent.
    """
    held = forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]
    if held is not None:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), held)
