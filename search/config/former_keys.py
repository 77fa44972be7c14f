"""Former names of configuration keys, accepted with one line that gives the present name."""

import re
import sys
from collections.abc import Mapping
from typing import Any

FORMER_KEYS = {"reuse": "cache_prefixes", "vary": "mutate_front"}
"""Present key by former key, at the top of a search's configuration."""


def admit_former_key(override: str) -> str:
    """Return an override of a former key in the form that adds it to the composed configuration.

    Hydra refuses keys that the composed configuration lacks. `with_present_keys` renames the added
    key, and thus an override has precedence over the same former key in a user's YAML.
    """
    match = re.fullmatch(r"\+*(\w+)=.*", override, re.DOTALL)
    former = match is not None and match[1] in FORMER_KEYS
    return f"++{override.lstrip('+')}" if former else override


def with_present_keys(composed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed configuration with former keys renamed; name each on stderr.

    A former key was written by the user, on the command line, in a YAML or in a stored study; it
    has precedence over the present key, whose value is the default of `conf/search.yaml`.
    """
    renamed = dict(composed)
    for former, present in FORMER_KEYS.items():
        if former in renamed:
            renamed[present] = renamed.pop(former)
            print(f"'{former}' is now '{present}'", file=sys.stderr)
    return renamed
