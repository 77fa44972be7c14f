"""What follows from each finished trial: the front, the tracker, the tables, models to drop."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from search.config.study_config import StudyConfig
from search.errors import TrackingError
from search.pareto.archive import ParetoArchive
from search.report.result import StudyResult, draw, study_result
from search.report.summary import write_summary
from search.report.tables import write_tables
from search.study.journal import Journal
from search.study.terminal import Display
from search.study.throttle import Throttle
from search.tracking.base import Mirror

TOGETHER = 8
"""So many trials go to the tracker at once: each costs four fifths of what it costs alone."""
PATIENCE_SECONDS = 5.0
"""How long fewer wait at most."""


@dataclass(kw_only=True)
class StudyOutputs:
    """Everything beside the journal, which alone is true; all of it is rebuilt from there.

    A finished trial costs the same whatever came before it: the front and the tracker are brought
    on, not made anew; the tracker is given several trials at once where they end fast. What is
    written as a whole, which are the tables and the tracker's marks of the front, is written at
    intervals that keep its cost small, and when the driver ends. After a kill it may lag behind the
    journal by that much, until the study goes on.
    """

    config: StudyConfig
    journal: Journal
    mirror: Future[Mirror]
    """What finishes before it is there waits for it."""
    display: Display
    archive: ParetoArchive = field(init=False)
    _taken: int = 0
    """Of the journal's changes, how many were taken up."""
    _mirrored: int = 0
    """Of the journal's changes, how many were given to the tracker."""
    _given: float = 0.0
    """When the tracker was last given something, on the monotonic clock, in seconds."""
    _tracked: bool = True
    """Whether the tracker took the last figures."""
    _cadence: Throttle = field(default_factory=Throttle)

    def __post_init__(self) -> None:
        reference = self.config.preferences.reference
        self.archive = ParetoArchive(objectives=self.config.objectives, reference=reference)

    def update(self) -> None:
        """Take up what was told since the last time."""
        changes = self.journal.changes[self._taken :]
        self._taken += len(changes)
        for record in changes:
            for beaten in self.archive.add(record):
                remove_model(self.config.trial_folder(beaten.number))
        self.pass_on()
        if self._cadence.due:
            with self._cadence.timed():
                self._write(self._result())

    def pass_on(self) -> None:
        """Give the tracker what waits, if it is enough or has waited for long enough."""
        waiting = len(self.journal.changes) - self._mirrored
        late = time.monotonic() - self._given > PATIENCE_SECONDS
        if self.mirror.done() and waiting and (late or waiting >= TOGETHER):
            with self._tracking():
                self._give(self.mirror.result())

    def close(self, status: str) -> StudyResult:
        """Bring everything up to date, draw the front and close the tracker with a status."""
        mirror = self.mirror.result()
        self.update()
        result = study_result(self.config, self.journal.records())
        files = [*self._write(result), *draw(self.config, result)]
        files.append(write_summary(self.config, result))
        mirror.finish(files, status=status)
        return replace(result, links=mirror.links())

    def _give(self, mirror: Mirror) -> None:
        """Give the tracker what it was not given yet."""
        changes = self.journal.changes[self._mirrored :]
        self._mirrored += len(changes)
        self._given = time.monotonic()
        mirror.write_trials(changes)

    def _write(self, result: StudyResult) -> list[Path]:
        """Write what is written as a whole; return the tables."""
        if self.mirror.done():
            mirror = self.mirror.result()
            with self._tracking():
                self._give(mirror)
                mirror.write_front(result.front_numbers, result.history)
        return write_tables(result.frame, self.config.folder)

    def _result(self) -> StudyResult:
        return StudyResult(
            folder=self.config.folder,
            records=self.journal.records(),
            front=self.archive.front,
            history=self.archive.history,
        )

    @contextmanager
    def _tracking(self) -> Iterator[None]:
        """Go on where the tracker fails, and say so once; it is given what it missed later."""
        try:
            yield
            self._tracked = True
        except TrackingError as error:
            if self._tracked:
                self.display.say(f"the tracker is behind: {error}")
            self._tracked = False


def remove_model(folder: Path) -> None:
    """Delete a trial's model files; its recipe makes them again."""
    for name in ("model.onnx", "model.packed"):
        (folder / name).unlink(missing_ok=True)
