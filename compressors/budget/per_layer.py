"""Values for single layers, selected by patterns on their names."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from compressors.errors import UnmatchedPatternError

T = TypeVar("T")
MAX_SHOWN = 20
"""Names of layers in a message."""


def layer_value(layers: Mapping[str, T], name: str, default: T) -> T:
    """Return the value of the first pattern that matches the name, else the default.

    Patterns are those of a shell, `*`, `?` and `[...]`, and distinguish upper and lower case.
    """
    return next((value for pattern, value in layers.items() if fnmatchcase(name, pattern)), default)


def check_patterns(layers: Mapping[str, object], names: Iterable[str]) -> None:
    """Raise `UnmatchedPatternError`, which lists names, for a pattern that matches none."""
    known = list(names)
    for pattern in layers:
        if not any(fnmatchcase(name, pattern) for name in known):
            shown = ", ".join(known[:MAX_SHOWN]) or "no layers"
            more = f" and {len(known) - MAX_SHOWN} others" if len(known) > MAX_SHOWN else ""
            raise UnmatchedPatternError(
                f"layers: the pattern {pattern!r} matches none of {shown}{more}"
            )
