"""The executor and the tracker that a configuration names, built without importing the study."""

from typing import TYPE_CHECKING, cast

from search.config.study_config import StudyConfig
from search.utils.instantiate import build

if TYPE_CHECKING:
    from search.executors.base import Executor
    from search.tracking.base import Tracker


def build_executor(config: StudyConfig) -> "Executor":
    """Build the executor of a study.

    Raises:
        ConfigError: The class does not exist or refuses an argument.
    """
    return cast("Executor", build("executor", config.executor_node))


def build_tracker(config: StudyConfig) -> "Tracker":
    """Build the tracker of a study.

    Raises:
        ConfigError: The class does not exist or refuses an argument.
    """
    return cast("Tracker", build("tracking", config.tracking_node))
