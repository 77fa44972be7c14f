"""Running a study from its configuration to its report."""

from functools import partial

from search.config.latency_settings import LatencySettings
from search.config.study_config import StudyConfig
from search.executors.base import Executor
from search.proposal.proposer import check_sampler
from search.report.result import StudyResult
from search.study.driver import Driver
from search.study.journal import open_store
from search.study.terminal import Display
from search.tasks.loading import task_builder
from search.tracking.base import Mirror
from search.utils.files import write_atomically


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
    LatencySettings(**config.latency)
    task_builder(config.task)
    check_sampler(config.sampler, config.space)
    config.tracker().check()
    with open_store(
        config.folder,
        objectives=config.objectives,
        identity=config.identity(),
    ) as store:
        with write_atomically(config.folder / "config.yaml") as file:
            file.write(config.to_yaml().encode())
        driver = Driver(
            config=config,
            store=store,
            executor=executor,
            open_mirror=partial(open_mirror, config),
            display=display,
            space=config.space,
        )
        try:
            return driver.run()
        finally:
            executor.close()


def open_mirror(config: StudyConfig) -> Mirror:
    """Open or find again the mirror of a study in its tracker.

    Raises:
        TrackingError: the tracker cannot be reached or used.
    """
    return config.tracker().open(
        config.study,
        config.runs_dir,
        config_yaml=config.to_yaml(),
        objectives=config.objectives,
        parameters=config.space.names,
        tags=config.tags(),
    )
