"""What ends a process: its parent, and signals, treated like Ctrl-C so that all end it cleanly."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Asked to end, as by a job scheduler, and the terminal is gone."""

_PARENT_SECONDS = 0.1
"""How often a process asks whether its parent still runs."""


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread when one of `SIGNALS` comes.

    A signal that the caller's parent ignores, as under `nohup`, stays ignored.
    """
    previous: dict[int, Any] = {}
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            previous[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def ended_with_parent() -> Iterator[None]:
    """End this process during the block if its parent ends; no thread is left afterwards."""
    parent, over = os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(_PARENT_SECONDS):
            if os.getppid() != parent:
                os._exit(1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
