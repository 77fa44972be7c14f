"""How latency is measured, checked before anything is imported that can measure it."""

from dataclasses import asdict, dataclass

from search.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """How latency is measured."""

    batch_size: int
    threads: int
    rounds: int

    def __post_init__(self) -> None:
        """Check the settings; raise `ConfigError` if one is not at least 1."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"latency.{name} must be a whole number from 1, got {value!r}")
