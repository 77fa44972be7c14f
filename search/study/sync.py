"""Making the mirror of a study anew from its journal, whatever the tracker lost or missed."""

from collections.abc import Collection
from dataclasses import replace

from search.config.study_config import StudyConfig
from search.errors import ConfigError
from search.report.pictures import draw_image, draw_page
from search.report.result import StudyResult, study_result
from search.report.summary import write_summary
from search.report.tables import write_tables
from search.study.journal_file import driver_lock
from search.study.run import open_mirror
from search.study.storage.opening import read_study
from search.study.terminal import Display
from search.tracking import NoTracker
from search.utils.trust import check_targets, signed_targets


def sync(config: StudyConfig, display: Display, trusted: Collection[str] = ()) -> StudyResult:
    """Write into the tracker what it lacks of a study or has otherwise, so that a second call finds
    nothing to write.

    Args:
        config: The study's configuration.
        display: The terminal.
        trusted: Packages whose code may run because the study names it, if it is from elsewhere.

    Returns:
        The study's result, with links into the tracker.

    Raises:
        ConfigError: The study has no tracker, or names one that is not trusted.
        StudyError: Another process runs the study, or its journal is damaged or gone.
        TrackingError: The tracker cannot be reached or used.
    """
    known = signed_targets(config.folder)
    where = f"study '{config.study}'"
    check_targets(where, {"tracking": config.tracking_node}, (*known, *trusted))
    with driver_lock(config.folder):
        journal = read_study(config)
        result = study_result(config, journal.records())
        mirror = open_mirror(config)
        if isinstance(mirror, NoTracker):
            raise ConfigError(
                f"{where} was run with tracking=none and has no mirror: launch it "
                "again with tracking=mlflow, which makes one"
            )
        if mirror.note:
            display.say(mirror.note)
        mirror.write_trials(result.records)
        mirror.write_front(result.front_numbers, result.history)
        files = [*write_tables(result.frame, config.folder), write_summary(config, result)]
        files += [*draw_page(config, result), *draw_image(config, result)]
        mirror.finish(files, status="KILLED" if journal.unfinished() else "FINISHED")
        return replace(result, links=mirror.links())
