"""A user's preferences among the objectives: where gains begin, and which weigh more."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from search.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """A reference point and weights; an objective without an entry keeps its default.

    Raises:
        ConfigError: A reference is not finite, or a weight is not a finite number above 0.
    """

    reference: Mapping[str, float] = field(default_factory=dict)
    """By objective, the value from which a gain counts, in the unit of the metric."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By objective, its weight in the choice of the knee; 1 where not given."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name, value in self.reference.items():
            if not math.isfinite(value):
                raise ConfigError(f"preferences.reference.{name} must be finite, got {value}")
        for name, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise ConfigError(
                    f"preferences.weights.{name} must be a finite number above 0, got {weight:g}; "
                    "to disregard a metric, leave it out of the objectives"
                )

    def check_names(self, objectives: Collection[str]) -> None:
        """Check that every entry names an objective.

        Raises:
            ConfigError: An entry names another metric.
        """
        for part, given in (("reference", self.reference), ("weights", self.weights)):
            for name in given:
                if name not in objectives:
                    raise ConfigError(
                        f"preferences.{part}.{name}: {name} is no objective of this study; "
                        f"name one of {', '.join(objectives)}"
                    )

    def __str__(self) -> str:
        """Return the entries in a few words; empty without any."""
        parts = [f"{name} from {value:g}" for name, value in self.reference.items()]
        parts += [f"{name} weighs {weight:g}" for name, weight in self.weights.items()]
        return ", ".join(parts)
