"""Intervals between repetitions of a task, long enough that it costs a small share of the time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MAX_SHARE = 0.02
"""Share of the time that the task may take."""
MIN_INTERVAL_SECONDS = 30.0


@dataclass(kw_only=True)
class Throttle:
    """A task whose cost grows with the study; it is due at once, and then at measured intervals.

    The interval is 30 seconds, or 50 times the duration of the last run if that is longer.
    """

    _next: float = 0.0
    """When the task is due, in seconds on the monotonic clock."""

    @property
    def due(self) -> bool:
        """Whether the task should run now."""
        return time.monotonic() >= self._next

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the block, which runs the task, and set when it is due again."""
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(MIN_INTERVAL_SECONDS, (ended - began) / MAX_SHARE)
