"""The keys and types of the composed configuration of each command, and the check against them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from search.errors import ConfigError


@dataclass
class LatencySchema:
    """The keys and types of `latency`."""

    batch_size: int = MISSING
    threads: int = MISSING
    rounds: int = MISSING


@dataclass
class RungsSchema:
    """The keys and types of `rungs`."""

    count: int = MISSING
    factor: float = MISSING


@dataclass
class PreferencesSchema:
    """The keys and types of `preferences`."""

    reference: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


@dataclass
class SearchSchema:
    """The keys and types at the top of a search's configuration; groups are checked elsewhere."""

    study: str | None = None
    trials: int = MISSING
    seed: int = MISSING
    timeout: float | None = None
    runs_dir: str = MISSING
    storage: str | None = None
    constraints: dict[str, Any] = field(default_factory=dict)
    latency: LatencySchema = field(default_factory=LatencySchema)
    stagnation: int | None = None
    retries: int = 2
    preferences: PreferencesSchema = field(default_factory=PreferencesSchema)
    warm_start: bool = MISSING
    refuse_early: bool = MISSING
    cache_prefixes: bool = MISSING
    mutate_front: bool = MISSING
    precision: str | None = None
    rungs: RungsSchema = field(default_factory=RungsSchema)
    steps: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=dict)
    objectives: dict[str, str] = field(default_factory=dict)
    executor: dict[str, Any] = field(default_factory=dict)
    tracking: dict[str, Any] = field(default_factory=dict)


@dataclass
class FrontSchema:
    """The keys and types of `paredown front`."""

    study: str | None = None
    runs_dir: str = MISSING


@dataclass
class ExportSchema:
    """The keys and types of `paredown export`."""

    study: str | None = None
    select: str = MISSING
    output: str | None = None
    runs_dir: str = MISSING
    trust: list[str] = field(default_factory=list)


@dataclass
class ApplySchema:
    """The keys and types of `paredown apply`."""

    recipe_file: str | None = None
    output: str | None = None
    runs_dir: str = MISSING
    threads: int = MISSING
    trust: list[str] = field(default_factory=list)
    latency: LatencySchema = field(default_factory=LatencySchema)
    task: dict[str, Any] = field(default_factory=dict)


@dataclass
class UnpackSchema:
    """The keys and types of `paredown unpack`."""

    file: str | None = None
    out: str | None = None
    limit_bytes: int = MISSING


@dataclass
class UiSchema:
    """The keys and types of `paredown ui`."""

    runs_dir: str = MISSING
    host: str = MISSING
    port: int = MISSING


def check_types(composed: Mapping[str, Any], schema: type = SearchSchema) -> dict[str, Any]:
    """Return a composed configuration with every value converted to the type of its key.

    Args:
        composed: The configuration of a command.
        schema: A dataclass of the keys and types of this command.

    Raises:
        ConfigError: A key is unknown or missing, or a value has another type.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), dict(composed))
        return cast(dict[str, Any], OmegaConf.to_container(merged, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise ConfigError(unknown_key(error)) from error


def unknown_key(error: OmegaConfBaseException) -> str:
    """Return OmegaConf's message in one line; after an unknown key, the nearest one or all."""
    message = str(error.msg or error).splitlines()[0]
    parent = getattr(error, "parent_node", None)
    known = [str(key) for key in cast(DictConfig, parent)] if OmegaConf.is_dict(parent) else []
    close = get_close_matches(str(error.key), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else f"; there are: {', '.join(known)}"
    unknown = known and str(error.key) not in known
    return f"{error.full_key or error.key}: {message}{hint if unknown else ''}"
