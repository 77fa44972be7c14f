"""The parts of a task that the user gives, and those that model and data imply."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from search.tasks.adapters.lightning import lightning_parts
from search.tasks.adapters.rows import row_parts
from search.tasks.adapters.transformers import transformers_parts

ADAPTERS = (lightning_parts, transformers_parts, row_parts)
DATA = ("train", "validation", "test")


def given_parts(built: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the parts of a task by name as the user gives them, without those that are None.

    Args:
        built: What the user's function or class returns: a mapping, an object with attributes, or
            a model alone.
        names: Names of all parts. A mapping under `data` gives parts too.
    """
    if isinstance(built, nn.Module):
        return {"model": built}
    found = {name: _part(built, name) for name in names}
    data = found.get("data")
    split = {name: data[name] for name in DATA if name in data} if isinstance(data, Mapping) else {}
    return split | {name: part for name, part in found.items() if part is not None}


def with_implied_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts with those that a library's model and data imply.

    Raises:
        ConfigError: What they imply cannot be used.
    """
    complete = dict(parts)
    for adapter in ADAPTERS:
        complete |= adapter(complete)
    return complete


def _part(built: Any, name: str) -> Any:
    return built.get(name) if isinstance(built, Mapping) else getattr(built, name, None)
