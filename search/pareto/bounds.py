"""Bounds on metrics, in a selection and in a configuration: `size_bytes <= 20kB`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
BYTES = {
    "B": 1,
    "kB": 1e3,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1e3}
COUNTS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
PERCENT = {"%": 0.01}
NO_SHARES = ("nll", "bits_per_weight", "fidelity_db")
"""Metrics in units of their own, of which no percentage is known."""
COUNTED = ("macs", "bops", "parameters", "nonzeros", "integer_operators")
METRIC = r"[A-Za-z_][\w./-]*"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_BOUND = re.compile(rf"\s*({METRIC})\s*(<=|>=|==|<|>)\s*({NUMBER})\s*(%|(?!and\b)[A-Za-zµ]+)?\s*")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One condition on a metric."""

    metric: str
    relation: str
    """A key of `OPERATORS`."""
    limit: float
    """In the unit of the metric."""

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Return whether the metric is there and satisfies the relation."""
        value = metrics.get(self.metric)
        return value is not None and OPERATORS[self.relation](value, self.limit)

    def __str__(self) -> str:
        return f"{self.metric} {self.relation} {self.limit:.12g}"


def parse_bound(text: str) -> Bound | None:
    """Read `METRIC OP NUMBER[UNIT]`; return None where the text has another form.

    Raises:
        ValueError: The number has a unit that the metric is not measured in, or is infinite.
    """
    parts = _BOUND.fullmatch(text)
    if parts is None:
        return None
    metric, relation, number, unit = parts.groups()
    known = units_of(metric)
    if unit is not None and unit not in known:
        allowed = f"one of {', '.join(known)}" if known else "without a unit"
        near = metric.removesuffix("_bytes").removesuffix("_ms")
        share = f"; a share of the baseline's is {near}_ratio" if unit == "%" and known else ""
        raise ValueError(f"{text.strip()!r}: {metric} is given {allowed}, got {unit!r}{share}")
    limit = float(number) * (1 if unit is None else known[unit])
    if not math.isfinite(limit):
        raise ValueError(f"{text.strip()!r}: the bound of {metric} must be finite, got {number}")
    return Bound(metric=metric, relation=relation, limit=limit)


def units_of(metric: str) -> Mapping[str, float]:
    """Return the units that a bound on a metric may have, each in units of the metric.

    Bytes, milliseconds and counts have their prefixes; any other figure is a number of which a
    percent is a hundredth, so that 1% of `score_drop` is 0.01.
    """
    name = metric.rpartition("/")[2]
    if name.endswith("_bytes"):
        return BYTES
    if name.endswith("_ms"):
        return MILLISECONDS
    if name in COUNTED or name.endswith("per_second"):
        return COUNTS
    return {} if name in NO_SHARES else PERCENT
