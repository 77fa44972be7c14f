"""Plain data as YAML text, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search.errors import ConfigError

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The dumper of libyaml where PyYAML has it: seven times as fast, with the same text."""


def yaml_text(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML text, with keys in their own order."""
    return str(yaml.dump(dict(data), Dumper=_DUMPER, sort_keys=False))


NO_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""Errors of PyYAML for text that is none, and for values of its types that there are not."""
MAX_VALUES = 1_000_000
"""Values of a file; aliases make many out of few bytes."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the plain data of a YAML file: numbers, text, lists, and mappings by text.

    Raises:
        ConfigError: It is no YAML, no mapping, or has values of other types.
        OSError: There is no such file, or it cannot be read.
    """
    content = path.read_bytes()
    try:
        data = yaml.safe_load(content)
        fault = _fault(data)
    except NO_YAML as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path} is no YAML: {reason or type(error).__name__}") from error
    if fault or not isinstance(data, dict):
        raise ConfigError(f"{path} is damaged: {fault or 'it has no keys'}")
    return data


def _fault(data: Any) -> str:
    """Return why data are not plain; nothing if they are."""
    waiting, seen = [data], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            return f"it has more than {MAX_VALUES} values"
        if isinstance(value, dict):
            strange = [key for key in value if not isinstance(key, str | int)]
            if strange:
                return f"a key is {strange[0]!r:.100}"
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif not isinstance(value, bool | int | float | str | None):
            return f"{value!r:.100} is neither a number nor text"
    return ""
