"""How often to rewrite what is written as a whole, so that it costs a small share of the time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SHARE = 0.02
SECONDS = 30.0


@dataclass(kw_only=True)
class Throttle:
    """Something whose cost grows with the study, done at once and then at measured intervals.

    It is due again after half a minute, or after fifty times as long as it took, if that is longer.
    """

    _next: float = 0.0
    """On the monotonic clock, in seconds."""

    @property
    def due(self) -> bool:
        """Whether it is time to do it again."""
        return time.monotonic() >= self._next

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the block, which does it."""
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(SECONDS, (ended - began) / SHARE)
