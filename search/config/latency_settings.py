"""The settings of the latency measurement, free of the libraries that measure."""

from dataclasses import asdict, dataclass

from search.errors import ConfigError

LARGEST = {"batch_size": 65_536, "threads": 1024, "rounds": 100_000}
"""Upper ends of the settings, beyond any machine or patience."""


@dataclass(frozen=True, kw_only=True)
class LatencySettings:
    """How latency is measured.

    Raises:
        ConfigError: A setting is not a whole number from 1 to its `LARGEST`.
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
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not whole or not 1 <= value <= LARGEST[name]:
                raise ConfigError(
                    f"latency.{name} must be a whole number in [1, {LARGEST[name]}], got {value!r}"
                )
