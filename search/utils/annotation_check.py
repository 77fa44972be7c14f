"""Plain data checked against the annotations of the class or function that they are given to."""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin

from search.errors import ConfigError

MAPPINGS = (Mapping, dict)
LISTS = (Sequence, list, tuple)
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
MAX_SHOWN = 100
"""Characters of a value in a message."""


@cache
def _parameters(target: Callable[..., Any]) -> Mapping[str, tuple[Any, Any]]:
    """Return of each named parameter its annotation, `Any` without one, and its default."""
    made = cast(Any, target)
    inner = inspect.unwrap(made.__init__ if isinstance(target, type) else made)
    names = getattr(inner, "__globals__", {})
    return {
        parameter.name: (_evaluated(parameter.annotation, names), parameter.default)
        for parameter in inspect.signature(target).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _evaluated(annotation: Any, names: Mapping[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return Any if annotation is inspect.Parameter.empty else annotation
    try:
        return eval(annotation, dict(names))
    except Exception:  # noqa: BLE001 - of names that are only there for a type checker
        return Any


def check_annotations(place: str, target: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Check that arguments are of the kinds that a class or function is annotated with.

    Only kinds that YAML has are checked: null, true and false, numbers, text, lists, mappings,
    literals, and unions of these. A parameter's own default always fits.

    Args:
        place: Place of the arguments in the configuration, for the message.
        target: The class or function.
        given: Its arguments by name; names that it does not have are passed over.

    Raises:
        ConfigError: A value is of another kind; the message names both.
    """
    parameters = _parameters(target)
    for name, value in given.items():
        hint, default = parameters.get(name, (Any, None))
        if not _fits(value, hint) and value is not default:
            raise ConfigError(f"{place}.{name} must be {_described(hint)}, got {shown(value)}")


def shown(value: object) -> str:
    """Return a value for a message, shortened."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _described(hint: Any) -> str:
    """Return in words what an annotation accepts."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        words = [_described(one) for one in inner if not (one is int and float in inner)]
        return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if hint in (None, types.NoneType):
        return "null"
    if origin in MAPPINGS:
        return "a mapping" + (
            f" of {_described(inner[0])} to {_described(inner[1])}" if inner else ""
        )
    if origin in LISTS:
        return f"a list, each item {_described(inner[0])}" if inner else "a list"
    return WORDS.get(hint, str(getattr(hint, "__name__", hint)))


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if hint in (None, types.NoneType):
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint in (int, float):
        number = isinstance(value, int) or (hint is float and isinstance(value, float))
        return number and not isinstance(value, bool)
    if origin in MAPPINGS:
        if not isinstance(value, Mapping):
            return False
        return all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items() if inner)
    if origin in LISTS:
        if not isinstance(value, list | tuple):
            return False
        alike = inner[:1] if origin is not tuple or inner[1:] == (...,) else ()
        return all(_fits(one, hint) for hint in alike for one in value)
    return True
