"""A process beside the driver that ends the driver's workers when the driver has ended.

Each worker notices by itself that its driver is gone, but not while it is paused, and a worker that
was killed with the driver no longer ends its children.
"""

import multiprocessing
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any, cast

from search.executors.child_imports import let_server_end, own_imports_only
from search.executors.process_tree import kill_tree, lead_tree


class Watchdog:
    """The driver's end of the pipe to the process; the process acts when this end is closed."""

    def __init__(self, context: BaseContext) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = cast(Any, context).Process(target=_watch, args=(theirs,), daemon=True)
        with own_imports_only():
            self._process.start()
        theirs.close()
        self._watched: list[int] = []

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return bool(self._process.is_alive())

    def watch(self, roots: list[int]) -> None:
        """Have these trees of processes, and no others, end with the driver.

        Args:
            roots: Process ids of workers.
        """
        if roots != self._watched:
            with suppress(BrokenPipeError, ConnectionResetError):  # it was killed
                self._pipe.send(roots)
                self._watched = roots

    def close(self) -> None:
        """End the process, and the trees that it still watches."""
        self._pipe.close()
        self._process.join()
        self._process.close()


def _watch(pipe: Connection) -> None:
    """Wait for the end of the driver, as the target of a process, and kill the trees named last."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lead_tree()
    let_server_end()
    roots: list[int] = []
    while True:
        try:
            roots = pipe.recv()
        except (EOFError, OSError):
            break
    for root in roots:
        kill_tree(root)
