"""Passing finished trials on to the tracker, in batches, while it may be slow or out of reach."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from search.errors import TrackingError
from search.report.result import StudyResult
from search.study.journal import Journal
from search.study.terminal import Display
from search.tracking.base import Mirror

BATCH_TRIALS = 8
"""Trials that are written at once; in such a batch, each costs four fifths of its cost alone."""
MAX_WAIT_SECONDS = 5.0
"""Time that a trial waits for others at most."""


@dataclass(kw_only=True)
class TrackerFeed:
    """The changes of a journal on their way to the tracker.

    A tracker that fails stops nothing: the error is shown once, and the tracker's mirror gets what
    it missed with a later batch.
    """

    journal: Journal
    mirror: Future[Mirror]
    """The mirror that is being opened; until it is open, changes wait."""
    display: Display
    _written_changes: int = 0
    """Changes of the journal that were passed to the mirror."""
    _last_batch: float = 0.0
    """When the last batch was written, in seconds on the monotonic clock."""
    _healthy: bool = True
    """Whether the last call of the mirror succeeded."""

    def write_due_batch(self) -> None:
        """Write the waiting changes if they are many, or one has waited for long."""
        waiting = len(self.journal.changes) - self._written_changes
        late = time.monotonic() - self._last_batch > MAX_WAIT_SECONDS
        if self.mirror.done() and waiting and (late or waiting >= BATCH_TRIALS):
            with self._errors_shown_once():
                self._write_changes(self.mirror.result())

    def write_front(self, result: StudyResult) -> None:
        """Write all waiting changes, the marks of the front and the hypervolume."""
        if self.mirror.done():
            with self._errors_shown_once():
                self._write_all(self.mirror.result(), result)

    def finish(self, result: StudyResult, files: Sequence[Path], status: str) -> dict[str, str]:
        """Store files, close the mirror with a status and return its links, none if it fails.

        Waits for the mirror that is being opened, and writes what it missed.
        """
        with self._errors_shown_once():
            mirror = self.mirror.result()
            self._write_all(mirror, result)
            mirror.finish(files, status=status)
            return mirror.links()
        return {}

    def _write_all(self, mirror: Mirror, result: StudyResult) -> None:
        self._write_changes(mirror)
        mirror.write_front(result.front_numbers, result.history)

    def _write_changes(self, mirror: Mirror) -> None:
        changes = self.journal.changes[self._written_changes :]
        self._written_changes += len(changes)
        self._last_batch = time.monotonic()
        mirror.write_trials(changes)

    @contextmanager
    def _errors_shown_once(self) -> Iterator[None]:
        """Continue where the tracker fails; show only the first of several failures in a row."""
        try:
            yield
            self._healthy = True
        except TrackingError as error:
            if self._healthy:
                self.display.say(f"the tracker is behind: {error}")
            self._healthy = False
