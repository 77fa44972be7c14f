"""Bounds on metrics: a trial that lies beyond one is infeasible."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.config.metric_names import check_metric
from search.errors import ConfigError
from search.pareto.bounds import parse_bound
from search.utils.annotation_check import shown


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """`metric <= bound`, or `metric >= bound`."""

    metric: str
    upper: bool
    bound: float

    def __str__(self) -> str:
        """Return the constraint in the notation of a configuration."""
        return f"{self.metric}{'<=' if self.upper else '>='}{self.bound:g}"

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Return the distance of the metric beyond the bound; at most 0 when satisfied."""
        excess = metrics[self.metric] - self.bound
        return excess if self.upper else -excess


def parse_constraints(node: Mapping[str, Any]) -> tuple[Constraint, ...]:
    """Read the `constraints` node: by metric, a text such as '<=0.02', '<=2%' or '<=20kB'.

    Raises:
        ConfigError: There is no such metric, or the text is not `<=` or `>=` and a number in a unit
            of the metric.
    """
    parsed = []
    for metric, text in node.items():
        check_metric(f"constraints.{metric}", metric)
        try:
            bound = parse_bound(f"{metric}{text}")
        except ValueError as error:
            raise ConfigError(f"constraints.{metric}: {error}") from error
        if bound is None or bound.relation not in ("<=", ">="):
            raise ConfigError(
                f"constraints.{metric} must be '<=' or '>=' and a number, got {shown(text)}; "
                f"for no bound, write ~constraints.{metric}"
            )
        upper = bound.relation == "<="
        parsed.append(Constraint(metric=metric, upper=upper, bound=bound.limit))
    return tuple(parsed)
