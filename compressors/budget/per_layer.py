"""Values that hold for single layers, given by a pattern on the layer's name."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from compressors.errors import InfeasibleError

T = TypeVar("T")


def layer_value(layers: Mapping[str, T], name: str, default: T) -> T:
    """Return the value of the first pattern that matches the name, else the default.

    Patterns are those of the shell: `*`, `?` and `[...]`, with case.
    """
    return next((value for pattern, value in layers.items() if fnmatchcase(name, pattern)), default)


def check_patterns(layers: Mapping[str, object], names: Iterable[str]) -> None:
    """Raise `InfeasibleError`, with the names there are, for a pattern that matches none."""
    known = list(names)
    for pattern in layers:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise InfeasibleError(
                f"layers: the pattern {pattern!r} matches none of {', '.join(known) or 'no layers'}"
            )
