"""Text from outside, such as messages and paths, that every file and data base can hold."""

import re
from typing import Any

from search.utils.plain_data import map_texts
from search.utils.secrets import without_secrets

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def storable(text: str) -> str:
    """Return a text with control characters and what UTF-8 cannot encode as escapes.

    Secrets are hidden. Python has surrogates, which UTF-8 cannot encode, where bytes could not be
    decoded; JSON keeps them, other files and data bases refuse them. Tabs and ends of lines stay.
    """
    encodable = without_secrets(text).encode(errors="backslashreplace").decode()
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", encodable)


def storable_data(data: Any) -> Any:
    """Return plain data in which every text, keys too, is storable."""
    return map_texts(data, storable)
