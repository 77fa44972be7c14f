"""Passing finished trials on to the tracker, in batches, while it may be slow or out of reach."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
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
    """The changes of a journal on their way to the tracker, in a thread of its own.

    A tracker that is slow or fails holds nothing up: the error is shown once, and the mirror is
    then opened again as at a launch, which finds out what it lacks.
    """

    journal: Journal
    thread: Executor
    """Runs one call after the other: nothing else writes into the tracker."""
    open_mirror: Callable[[], Mirror]
    display: Display
    remedy: str = ""
    """What the message of an error ends with: what completes the mirror later."""
    _mirror: Mirror | None = None
    """What is open; only the thread changes it."""
    _written_changes: int = 0
    """Changes of the journal that the mirror has; only the thread changes it."""
    _under_way: Future[object] | None = None
    _last_batch: float = float("-inf")
    """When the last batch was begun, in seconds on the monotonic clock."""
    _healthy: bool = True
    """Whether the last call succeeded."""

    def open(self) -> None:
        """Begin to open the mirror, which takes seconds, before there is anything to write."""
        self._begin(self._opened)

    def write_due_batch(self) -> None:
        """Begin to write the waiting changes if they are many, or one has waited for long."""
        if self._is_idle():
            waiting = len(self.journal.changes) - self._written_changes
            late = time.monotonic() - self._last_batch > MAX_WAIT_SECONDS
            if waiting and (late or (self._healthy and waiting >= BATCH_TRIALS)):
                self._last_batch = time.monotonic()
                self._begin(self._write_changes)

    def write_front(self, result: StudyResult) -> None:
        """Begin to write all waiting changes, the marks of the front and the hypervolume.

        While the last call is still under way nothing is begun, and a later call writes them.
        """
        if self._is_idle():
            self._begin(lambda: self._write_all(result))

    def finish(self, result: StudyResult, files: Sequence[Path], status: str) -> dict[str, str]:
        """Store files, close the mirror with a status and return its links, none if it fails.

        Waits for what is under way, and writes what the mirror lacks.
        """
        links: dict[str, str] = {}

        def close() -> None:
            self._write_all(result)
            mirror = self._opened()
            mirror.finish(files, status=status)
            links.update(mirror.links())

        self._wait()
        self._begin(close)
        self._wait()
        return links

    def _is_idle(self) -> bool:
        """Return whether no call is under way; show the error of the last one."""
        if self._under_way is not None and not self._under_way.done():
            return False
        self._wait()
        return True

    def _begin(self, call: Callable[[], object]) -> None:
        self._under_way = self.thread.submit(self._reopened_after_errors, call)

    def _wait(self) -> None:
        """Wait for the call that is under way; show only the first of several failures in a row."""
        ended, self._under_way = self._under_way, None
        if ended is None:
            return
        try:
            ended.result()
            self._healthy = True
        except TrackingError as error:
            if self._healthy:
                self.display.say(f"the tracker is behind: {error}{self.remedy}")
            self._healthy = False

    def _reopened_after_errors(self, call: Callable[[], object]) -> None:
        try:
            call()
        except TrackingError:
            self._mirror, self._written_changes = None, 0
            raise

    def _opened(self) -> Mirror:
        if self._mirror is None:
            self._mirror = self.open_mirror()
            if self._mirror.note:
                self.display.say(self._mirror.note)
        return self._mirror

    def _write_all(self, result: StudyResult) -> None:
        self._write_changes()
        self._opened().write_front(result.front_numbers, result.history)

    def _write_changes(self) -> None:
        changes = self.journal.changes[self._written_changes :]
        self._opened().write_trials(changes)
        self._written_changes += len(changes)
