"""Plain data as YAML text."""

from collections.abc import Mapping
from typing import Any

import yaml

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The dumper of libyaml where PyYAML has it: seven times as fast, with the same text."""


def yaml_text(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML text, with keys in their own order."""
    return str(yaml.dump(dict(data), Dumper=_DUMPER, sort_keys=False))
