"""A range: the values among which one field of one step is searched."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from search.errors import ConfigError
from search.trial_record import Value
from search.utils.annotation_check import shown

MAX_END = 1e15
"""Largest number in a range; whole numbers up to there are exact as floats."""


class Suggest(Protocol):
    """A source of values: an Optuna trial, or any object with the same three methods."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """Return a value in [low, high]."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """Return a whole value in [low, high]."""
        ...

    def suggest_categorical(self, name: str, choices: list[Value]) -> Value:
        """Return one of the choices."""
        ...


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that one field of one step may take, in place of a single value."""

    name: str
    """Name of the parameter in the study and in the tracker, `<step>.<field>`."""
    kind: str
    """float, int or categorical."""
    low: float = 0
    """Lowest value of a range of numbers."""
    high: float = 0
    """Highest value of a range of numbers."""
    step: float | None = None
    """Distance between values; None for any value."""
    log: bool = False
    """Whether values are drawn evenly on a logarithmic scale."""
    choices: tuple[Value, ...] = ()
    """The values of a categorical range, in order."""
    when: str | None = None
    """Name of the sibling field that must be truthy for this one to matter."""
    anchor: Value = None
    """The value in trials of the step alone; the middle of the range if None or out of range."""

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ConfigError: The range is empty, or its ends, step or choices do not fit.
        """
        if self.kind == "categorical":
            self._check_choices()
        else:
            self._check_bounds()

    def _check_choices(self) -> None:
        if not self.choices or len(set(self.choices)) < len(self.choices):
            raise ConfigError(
                f"steps.{self.name}: choices must be distinct numbers, words, true, false or null, "
                f"at least one, got {shown(list(self.choices))}"
            )

    def _check_bounds(self) -> None:
        for key in ("low", "high", "step"):
            value = getattr(self, key)
            if self.kind == "int" and not isinstance(value, int | None):
                raise ConfigError(f"steps.{self.name}.{key} must be a whole number, got {value!r}")
            if value is not None and not abs(value) <= MAX_END:
                raise ConfigError(
                    f"steps.{self.name}.{key} must be in [{-MAX_END:g}, {MAX_END:g}], "
                    f"got {shown(value)}"
                )
        if not self.low <= self.high:
            raise ConfigError(
                f"steps.{self.name}: low {self.low:g} lies above high {self.high:g}; "
                "raise high or lower low"
            )
        if self.step is not None and (self.log or self.step <= 0):
            raise ConfigError(
                f"steps.{self.name}: step must be positive and goes without log, got {self.step!r}"
            )
        if self.log and self.low <= 0:
            raise ConfigError(f"steps.{self.name}: log needs low above 0, got {self.low:g}")

    def __contains__(self, value: Value) -> bool:
        """Return whether a value lies between the ends or among the choices."""
        if self.kind == "categorical":
            return value in self.choices
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high  # type: ignore[operator]

    @property
    def top(self) -> float:
        """The largest value: high, or the last step up to it, in decimal numbers as Optuna does."""
        if self.step is None:
            return self.high
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        return float(low + (high - low) // step * step)

    def default(self) -> Value:
        """Return the anchor, or the middle of the range without one."""
        if self.anchor is not None and self.anchor in self:
            return self.anchor
        if self.kind == "categorical":
            return self.choices[len(self.choices) // 2]
        return self.interpolate(0.5)

    def interpolate(self, share: float) -> Value:
        """Return the value at a share in [0, 1] of the way from low to high, of a numeric range."""
        value = self.low + share * (self.high - self.low)
        if self.log:
            value = self.low * (self.high / self.low) ** share
        if self.step is not None:
            value = self.low + self.step * round((value - self.low) / self.step)
        value = min(max(value, self.low), self.top)
        return round(value) if self.kind == "int" else round(value, 10)

    def fraction_of(self, value: Value) -> float:
        """Return the share in [0, 1] of the way from low to high at which a number lies."""
        assert isinstance(value, int | float)
        if self.low == self.high:
            return 0.0
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def nearest(self, value: Value) -> Value:
        """Return the value itself if it is in the range, else the lowest or first one."""
        if value in self:
            return value
        return self.choices[0] if self.kind == "categorical" else self.low

    def suggest(self, source: Suggest) -> Value:
        """Draw a value; floats with a step are rounded, so that 0.6 is exactly 0.6."""
        if self.kind == "categorical":
            return source.suggest_categorical(self.name, list(self.choices))
        if self.kind == "int":
            low, high, step = int(self.low), int(self.top), int(self.step or 1)
            return source.suggest_int(self.name, low, high, step=step, log=self.log)
        value = source.suggest_float(self.name, self.low, self.top, step=self.step, log=self.log)
        return round(value, 10) if self.step is not None else value
