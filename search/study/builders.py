"""The executor and the tracker that a configuration names, built without importing the study."""

from search.config.study_config import StudyConfig
from search.executors.base import Executor
from search.tracking.base import Tracker
from search.utils.instantiate import build


def build_executor(config: StudyConfig) -> Executor:
    """Build the executor of a study.

    Raises:
        ConfigError: The class does not exist or refuses an argument.
    """
    return build("executor", config.executor_node, Executor)


def build_tracker(config: StudyConfig) -> Tracker:
    """Build the tracker of a study.

    Raises:
        ConfigError: The class does not exist or refuses an argument.
    """
    return build("tracking", config.tracking_node, Tracker)
