"""Former names of configuration keys, accepted with one line that gives the present name."""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

FORMER_KEYS = {"reuse": "cache_prefixes", "vary": "mutate_front"}
"""Present key by former key, at the top of a search's configuration."""


def with_present_key(override: str) -> str:
    """Return an override of a former key as one of the present key; name it on stderr."""
    match = re.fullmatch(r"\+*(\w+)(=.*)", override, re.DOTALL)
    if match is None or match[1] not in FORMER_KEYS:
        return override
    announce(match[1])
    return f"{FORMER_KEYS[match[1]]}{match[2]}"


def with_present_keys(composed: Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return a composed configuration with former keys renamed; name each on stderr.

    A former key comes from a user's YAML or a stored study. It has precedence over the default of
    the present key in `conf/search.yaml`, but not over an override.

    Args:
        composed: The composed configuration.
        overrides: The overrides that it was composed with, of present keys only.
    """
    renamed = dict(composed)
    given = {override.lstrip("+").partition("=")[0] for override in overrides}
    for former, present in FORMER_KEYS.items():
        if former in renamed:
            value = renamed.pop(former)
            if present not in given:
                renamed[present] = value
            announce(former)
    return renamed


@cache
def announce(former: str) -> None:
    """Print the present name of a key, once per process and not for each job of a sweep."""
    print(f"'{former}' is now '{FORMER_KEYS[former]}'", file=sys.stderr)
