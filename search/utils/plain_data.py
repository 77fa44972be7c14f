"""Plain data: numbers, texts, and mappings and lists of these."""

from collections.abc import Callable, Mapping
from typing import Any


def map_texts(data: Any, change: Callable[[str], str]) -> Any:
    """Return plain data in which every text, keys too, is changed; tuples become lists."""
    if isinstance(data, str):
        return change(data)
    if isinstance(data, Mapping):
        return {map_texts(key, change): map_texts(value, change) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [map_texts(value, change) for value in data]
    return data
