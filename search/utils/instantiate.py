"""Build the object that a configuration names by `_target_`; `trust` says which may be named."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

from compressors.errors import ParedownError
from search.errors import ConfigError
from search.utils.annotation_check import check_annotations, shown
from search.utils.failure_cause import failure_cause
from search.utils.secrets import from_environment, without_secrets

TARGET = "_target_"
_signature = cache(inspect.signature)
T = TypeVar("T")


def builder(place: str, node: Mapping[str, Any]) -> partial[Any]:
    """Return the call that a node describes, checked but not made.

    Args:
        place: Place of the node in the configuration, for messages.
        node: `_target_`, the import path of a class or function, and its arguments.

    Raises:
        ConfigError: There is no such class or function, or it does not take these arguments.
    """
    path = node.get(TARGET)
    if not isinstance(path, str) or not path:
        raise ConfigError(
            f"{place} needs a _target_, the import path of a class or function, got {shown(path)}"
        )
    if path.startswith("__main__."):
        name = path.removeprefix("__main__.")
        raise ConfigError(
            f"{place}: {path} is defined in the script or notebook itself, which the "
            "processes of trials do not import; put it into a module of its own, say my_model.py, "
            f"and write _target_: my_model.{name}"
        )
    given = {str(name): value for name, value in node.items() if name != TARGET}
    arguments = from_environment(place, given)
    target = _imported(place, path)
    try:
        _signature(target).bind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(without_secrets(f"{place}: {path}: {error}")) from error
    check_annotations(place, target, arguments)
    return partial(target, **arguments)


def _imported(place: str, path: str) -> Any:
    try:
        return pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{place}: {path} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{place}: {path} has an error: {failure_cause(error)}") from error


def build(place: str, node: Mapping[str, Any], kind: type[T]) -> T:
    """Make the call that a node describes and return its result.

    Args:
        place: Place of the node in the configuration, for messages.
        node: `_target_`, the import path of a class or function, and its arguments.
        kind: The class or protocol that the result must be of.

    Raises:
        ConfigError: As in `builder`, or the class or function refuses a value, or gives something
            of another kind.
    """
    built = made(place, builder(place, node))
    if not isinstance(built, kind):
        raise ConfigError(
            f"{place}: {node[TARGET]} gives a {type(built).__name__}, which is no {kind.__name__}"
        )
    return built


def made(place: str, call: Callable[[], Any]) -> Any:
    """Make a call that `builder` returned and return its result.

    Raises:
        ConfigError: The class or function refuses a value.
    """
    try:
        return call()
    except ParedownError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise ConfigError(without_secrets(f"{place}: {error}")) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(without_secrets(f"{place}: {failure_cause(error)}")) from error
