"""The keys and types of the composed configuration of each command, and the check against them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from omegaconf import MISSING, OmegaConf

from search.config.hydra_errors import as_config_errors


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
class StoredSchema:
    """The keys and types of commands on a stored study that need no more."""

    study: str | None = None
    runs_dir: str = MISSING


@dataclass
class FrontSchema(StoredSchema):
    """The keys and types of `paredown front`."""

    select: str | None = None
    format: str = MISSING


@dataclass
class CompareSchema(StoredSchema):
    """The keys and types of `paredown compare`."""

    a: str | None = None
    b: str | None = None


@dataclass
class SyncSchema(StoredSchema):
    """The keys and types of `paredown sync`."""

    trust: list[str] = field(default_factory=list)


@dataclass
class ExportSchema:
    """The keys and types of `paredown export`."""

    study: str | None = None
    select: str = MISSING
    output: str | None = None
    formats: list[str] = field(default_factory=list)
    runs_dir: str = MISSING
    trust: list[str] = field(default_factory=list)


@dataclass
class VerifySchema:
    """The keys and types of `paredown verify`."""

    folder: str | None = None
    rounds: int = MISSING
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
    with as_config_errors(list(composed)):
        merged = OmegaConf.merge(OmegaConf.structured(schema), dict(composed))
        return cast(dict[str, Any], OmegaConf.to_container(merged, throw_on_missing=True))
