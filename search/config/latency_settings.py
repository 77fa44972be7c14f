"""The settings of the latency measurement, free of the libraries that measure."""

from dataclasses import asdict, dataclass

from search.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """How latency is measured.

    Raises:
        ConfigError: A setting is not a whole number from 1.
    """

    batch_size: int
    """Examples in one inference."""
    threads: int
    """Threads of ONNX Runtime."""
    rounds: int
    """Timed rounds, in each of which the model and the baseline take turns."""

    def __post_init__(self) -> None:
        """Check the settings."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"latency.{name} must be a whole number from 1, got {value!r}")
