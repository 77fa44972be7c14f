"""Everything that is derived from the journal: the front, the tracker, the tables, the pictures."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from search.artefact.model_files import MODEL_FILES
from search.config.study_config import StudyConfig
from search.pareto.archive import ParetoArchive
from search.report.pictures import draw_image, draw_page
from search.report.result import StudyResult, study_result
from search.report.summary import write_summary
from search.report.tables import write_tables
from search.study.journal import Journal
from search.study.terminal import Display
from search.study.throttle import Throttle
from search.study.tracker_feed import TrackerFeed


@dataclass(kw_only=True)
class StudyOutputs:
    """Outputs of a study beside its journal, from which all of them can be rebuilt.

    Every finished trial costs the same, however many came before: the front is updated and the
    tracker gets only what is new. The tables and the tracker's marks of the front are written as a
    whole, at intervals that keep their cost small, and when the driver ends. After a kill they lag
    behind the journal by at most one interval, until the study continues.
    """

    config: StudyConfig
    journal: Journal
    feed: TrackerFeed
    display: Display
    archive: ParetoArchive = field(init=False)
    """The front and the history of the hypervolume."""
    _archived: int = 0
    """Changes of the journal that are in the archive."""
    _throttle: Throttle = field(default_factory=Throttle)

    def __post_init__(self) -> None:
        reference = self.config.preferences.reference
        self.archive = ParetoArchive(objectives=self.config.objectives, reference=reference)

    def update(self) -> None:
        """Process the journal's changes since the last call; delete models that left the front."""
        changes = self.journal.changes[self._archived :]
        self._archived += len(changes)
        for record in changes:
            for beaten in self.archive.add(record):
                delete_model(self.config.trial_folder(beaten.number))
        self.write_to_tracker()
        if self._throttle.due:
            with self._throttle.timed():
                result = self._result()
                self.feed.write_front(result)
                self._written("trials.*", lambda: write_tables(result.frame, self.config.folder))

    def write_to_tracker(self) -> None:
        """Pass waiting trials to the tracker if there are many, or one has waited for long."""
        self.feed.write_due_batch()

    def close(self, status: str) -> StudyResult:
        """Bring all outputs up to date, draw the front and close the tracker.

        What cannot be written is said, and takes nothing else with it.

        Args:
            status: FINISHED, FAILED or KILLED.
        """
        self.update()
        result = study_result(self.config, self.journal.records())
        files = [
            *self._written("trials.*", lambda: write_tables(result.frame, self.config.folder)),
            *self._written("report.html", lambda: draw_page(self.config, result)),
            *self._written("front.png", lambda: draw_image(self.config, result)),
            *self._written("summary.txt", lambda: [write_summary(self.config, result)]),
        ]
        return replace(result, links=self.feed.finish(result, files, status))

    def _written(self, names: str, write: Callable[[], list[Path]]) -> list[Path]:
        """Return the files that were written; none, which is said, where the disk refuses them.

        Args:
            names: The files in the study's folder, for the message.
            write: Writes them.
        """
        try:
            return write()
        except OSError as error:
            place = error.filename or self.config.folder / names
            self.display.say(f"not written: {place}: {error.strerror or error}")
            return []

    def _result(self) -> StudyResult:
        return StudyResult(
            folder=self.config.folder,
            records=self.journal.records(),
            front=self.archive.front,
            history=self.archive.history,
        )


def delete_model(folder: Path) -> None:
    """Delete the model files of a trial, which its recipe can make again."""
    for name in MODEL_FILES:
        (folder / name).unlink(missing_ok=True)
