"""What must not leave this process: values from the environment, and passwords in addresses."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from search.errors import ConfigError

FROM_ENVIRONMENT = "${oc.env:"
"""How a value from the environment begins in a configuration."""
HIDDEN = "***"
SHORTEST = 4
"""Characters of a value from which on it is hidden; shorter ones stand in too many words."""
SECRET_NAMES = re.compile(r"TOKEN|PASSWORD|SECRET|CREDENTIAL|API_?KEY|ACCESS_KEY", re.IGNORECASE)
"""Parts of the names of variables whose values are taken to be secrets."""
_known: set[str] = set()
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s'\"]+@")


def from_environment(place: str, value: Any) -> Any:
    """Return plain data with the values of the environment that it names; they are hidden after.

    Args:
        place: Place in the configuration, for the message.
        value: Plain data.

    Raises:
        ConfigError: A variable is not set.
    """
    if isinstance(value, Mapping):
        return {key: from_environment(f"{place}.{key}", inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [from_environment(f"{place}.{n}", inner) for n, inner in enumerate(value)]
    if not isinstance(value, str) or FROM_ENVIRONMENT not in value:
        return value
    try:
        found = OmegaConf.to_container(OmegaConf.create({"value": value}), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{place}: {str(error).splitlines()[0]}") from error
    assert isinstance(found, dict)
    _known.update(_texts(found["value"]))
    return found["value"]


def without_secrets(text: str) -> str:
    """Return a text without secrets.

    They are the values of `from_environment`, those of variables whose names say so, and what
    stands before the host of an address.
    """
    named = {value for name, value in os.environ.items() if SECRET_NAMES.search(name)}
    secrets = {secret for secret in _known | named if len(secret) >= SHORTEST}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _IN_ADDRESS.sub(f"{HIDDEN}@", text)


def hide_secrets(path: Path) -> None:
    """Hide secrets in a text file, in place, if there are any."""
    text = path.read_text(errors="surrogateescape")
    hidden = without_secrets(text)
    if hidden != text:
        path.write_text(hidden, errors="surrogateescape")


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [str(value)]
