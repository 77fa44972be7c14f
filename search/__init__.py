"""The study: it samples recipes, runs them, measures what would ship and keeps the front."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.report.result import StudyResult


def run_study(*overrides: str, config_dir: str | Path | None = None) -> "StudyResult":
    """Launch a study or go on with it, as `paredown search` does.

    A script that calls this keeps the call under `if __name__ == "__main__"`, since every trial
    runs in a process of its own.

    Arguments:
        overrides: as on the command line, `"task=digits", "trials=20"`.
        config_dir: a folder of your own configurations.

    Raises:
        ConfigError: the configuration cannot run; nothing was started.
        StudyError: another process runs the study, or it was begun otherwise, or the task fails.
    """
    from search.config.compose import compose_search
    from search.recipe.validation import check_space
    from search.study.builders import build_executor
    from search.study.run import run_study as run
    from search.study.terminal import Display

    config = compose_search(overrides, Path(config_dir) if config_dir else None)
    check_space(config.space)
    return run(config, build_executor(config), Display())
