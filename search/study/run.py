"""Running a study from its configuration to its report."""

import math
import time

from search.config.existing import keep_config
from search.config.study_config import StudyConfig
from search.executors.base import Executor
from search.executors.worker import LOG
from search.pareto.front import pareto_front
from search.proposal.samplers import check_sampler
from search.report.result import StudyResult
from search.report.standing import standing
from search.study.builders import build_tracker
from search.study.driver import run_trials
from search.study.journal import Journal
from search.study.journal_file import JOURNAL
from search.study.storage.opening import kept_objectives, open_study
from search.study.terminal import Display
from search.tasks.loading import task_builder
from search.tracking.base import Mirror, StudyDescription
from search.utils.files import cache_folder, remove_abandoned
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
    check_sampler(config.sampler, config.space, len(config.objectives))
    tracker, kept = build_tracker(config), kept_objectives(config)
    if not kept:  # a study that has begun goes on without its tracker
        tracker.check()
    if config.score_follows_task and "score" in kept:
        config = config.directed(maximize=kept["score"] == "maximize")
    with open_study(config) as journal:
        remove_abandoned(config.folder, shared=False)
        remove_abandoned(cache_folder(), shared=True)
        _trust(config, journal)
        _say_where(config, journal, display)
        keep_config(config)
        try:
            return run_trials(config, journal, executor, display, open_mirror, deadline)
        finally:
            executor.close()


def _say_where(config: StudyConfig, journal: Journal, display: Display) -> None:
    """Say from where a study goes on, if it has trials, and where the logs are."""
    records = journal.records()
    if records:
        left = config.trials - len(records)
        more = f"going on from {len(records)} of {config.trials} trials"
        enough = f"{len(records)} trials are there already; trials={2 * len(records)} adds some"
        display.say(more if left > 0 else enough)
        display.say(standing(config, pareto_front(records, config.objectives)))
    display.say(
        f"logs: {config.folder / 'baseline' / LOG}, {config.trial_folder(0).parent}/*/{LOG}"
    )


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
