"""The library transformers, which only some tasks need."""

from importlib import import_module
from typing import Any

from search.errors import ConfigError


def transformers_library(task: str) -> Any:
    """Return the module `transformers`.

    Args:
        task: Name of the task that needs it, for the message.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return import_module("transformers")
    except ImportError as error:
        raise ConfigError(
            f"task {task} needs the library transformers: pip install 'transformers>=5.20,<6'"
        ) from error
