"""Running a study from its configuration to its report."""

import math
import time
from functools import partial

from search.config.study_config import StudyConfig
from search.executors.base import Executor
from search.proposal.samplers import check_sampler
from search.report.result import StudyResult
from search.study.builders import build_tracker
from search.study.driver import run_trials
from search.study.journal import Journal
from search.study.journal_file import JOURNAL
from search.study.storage.opening import open_study
from search.study.terminal import Display
from search.tasks.loading import task_builder
from search.tracking.base import Mirror, StudyDescription
from search.utils.files import write_atomically
from search.utils.trust import check_targets, sign_folder, targets_of


def run_study(config: StudyConfig, executor: Executor, display: Display) -> StudyResult:
    """Begin a study or go on with it until it has as many finished trials as it shall have.

    The space has passed `check_space`.

    Raises:
        ConfigError: the configuration cannot run; nothing was started.
        StudyError: another process runs the study, it was begun with another space, or the task
            itself fails.
        KeyboardInterrupt: after the workers were ended and the tables written; the same call goes
            on where this one stopped.
    """
    deadline = time.monotonic() + (config.timeout or math.inf)
    task_builder(config.task)
    check_sampler(config.sampler, config.space)
    build_tracker(config).check()
    with open_study(config) as journal:
        _trust(config, journal)
        with write_atomically(config.folder / "config.yaml") as file:
            file.write(config.to_yaml().encode())
        try:
            return run_trials(
                config, journal, executor, display, partial(open_mirror, config), deadline
            )
        finally:
            executor.close()


def _trust(config: StudyConfig, journal: Journal) -> None:
    """Check the code that the journal names, and sign what the configuration names.

    Raises:
        ConfigError: A recipe in the journal names other code than the configuration.
    """
    own = set(targets_of(config.composed))
    recipes = [plan.recipe for plan in journal.unfinished()]
    for recipe in (*recipes, *(record.recipe for record in journal.records())):
        check_targets(str(config.folder / JOURNAL), recipe, own)
    sign_folder(config.folder, own)


def open_mirror(config: StudyConfig) -> Mirror:
    """Open the mirror of a study in its tracker, the existing one if there is one.

    Raises:
        TrackingError: the tracker cannot be reached or used.
    """
    description = StudyDescription(
        name=config.study,
        runs_dir=config.runs_dir,
        config_yaml=config.to_yaml(),
        objectives=config.objectives,
        parameters=config.space.names,
        tags=config.tags(),
    )
    return build_tracker(config).open(description)
