"""Build the object that a configuration names by `_target_`; `trust` says which may be named."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from search.errors import ConfigError
from search.utils.secrets import from_environment, without_secrets

TARGET = "_target_"
_signature = cache(inspect.signature)


def builder(place: str, node: Mapping[str, Any]) -> partial[Any]:
    """Return the call that a node describes, checked but not made.

    Args:
        place: Place of the node in the configuration, for messages.
        node: `_target_`, the import path of a class or function, and its arguments.

    Raises:
        ConfigError: There is no such class or function, or it does not take these arguments.
    """
    if TARGET not in node:
        raise ConfigError(f"{place} needs a _target_, the import path of a class or function")
    if str(node[TARGET]).startswith("__main__."):
        name = str(node[TARGET]).removeprefix("__main__.")
        raise ConfigError(
            f"{place}: {node[TARGET]} is defined in the script or notebook itself, which the "
            "processes of trials do not import; put it into a module of its own, say my_model.py, "
            f"and write _target_: my_model.{name}"
        )
    given = {str(name): value for name, value in node.items() if name != TARGET}
    arguments = from_environment(place, given)
    try:
        target = pkgutil.resolve_name(node[TARGET])
    except (ImportError, AttributeError, ValueError, TypeError, OSError) as error:
        raise ConfigError(f"{place}: {node[TARGET]} cannot be imported: {error}") from error
    except (SyntaxError, NameError) as error:
        raise ConfigError(f"{place}: {node[TARGET]} has an error: {error}") from error
    try:
        _signature(target).bind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(without_secrets(f"{place}: {node[TARGET]}: {error}")) from error
    return partial(target, **arguments)


def build(place: str, node: Mapping[str, Any]) -> Any:
    """Make the call that a node describes and return its result.

    Args:
        place: Place of the node in the configuration, for messages.
        node: `_target_`, the import path of a class or function, and its arguments.

    Raises:
        ConfigError: As in `builder`, or the class or function refuses a value.
    """
    return made(place, builder(place, node))


def made(place: str, call: Callable[[], Any]) -> Any:
    """Make a call that `builder` returned and return its result.

    Raises:
        ConfigError: The class or function refuses a value.
    """
    try:
        return call()
    except ConfigError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise ConfigError(without_secrets(f"{place}: {error}")) from error
