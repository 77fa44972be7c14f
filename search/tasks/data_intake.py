"""The user's data: what can be iterated as it is, or a function that returns it."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from search.errors import ConfigError


def training_data(data: Any, epoch: int) -> Iterable[Any]:
    """Return the training data of an epoch: what a function of the epoch gives, or the data."""
    return data(epoch) if callable(data) and _takes(data, epoch) else data  # type: ignore[no-any-return]


def held_out_data(data: Any) -> Iterable[Any]:
    """Return validation or test data; what can be iterated is never called."""
    return data if _iterable(data) else data()  # type: ignore[no-any-return]


def check_training_data(data: Any) -> None:
    """Check that training data can be read in every epoch.

    Raises:
        ConfigError: They can be read once, cannot be iterated, or are a function that does not
            take the epoch.
    """
    _check_repeatable("train", data)
    if not _iterable(data) and not _takes(data, 0):
        raise ConfigError(
            f"the task's train data are the function {_named(data)}, which is called with the "
            "number of the epoch; let it take that, or give a list or a DataLoader of batches"
        )


def check_held_out_data(name: str, data: Any) -> None:
    """Check that validation or test data can be read again and again.

    Raises:
        ConfigError: They can be read once, cannot be iterated, or are a function that needs an
            argument.
    """
    _check_repeatable(name, data)
    if not _iterable(data) and not _takes(data):
        raise ConfigError(
            f"the task's {name} data are the function {_named(data)}, which is called without "
            "arguments, since only training has epochs; give its parameters default values, or "
            "give a list or a DataLoader of batches"
        )


def empty_data(name: str) -> ConfigError:
    """Return the error for data without a batch."""
    return ConfigError(
        f"the task's {name} data yield no batch; is the data set empty, or smaller than a batch of "
        "a loader with drop_last=True?"
    )


def _check_repeatable(name: str, data: Any) -> None:
    if isinstance(data, Iterator):
        raise ConfigError(
            f"the task's {name} data are a {type(data).__name__}, which can be read once; give a "
            "list, a DataLoader, or a function that returns a new one"
        )
    if not callable(data) and not _iterable(data):
        raise ConfigError(
            f"the task's {name} data must be iterable, got {type(data).__name__}; give a list or a "
            "DataLoader of batches"
        )


def _iterable(data: Any) -> bool:
    """Return whether data can be iterated; a class, whose instances may be, cannot."""
    return not isinstance(data, type) and (
        hasattr(data, "__iter__") or hasattr(data, "__getitem__")
    )


def _takes(function: Callable[..., Any], *arguments: Any) -> bool:
    """Return whether a function can be called with these arguments; True if it does not say."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _named(function: Any) -> str:
    return f"{getattr(function, '__name__', type(function).__name__)}{inspect.signature(function)}"
