"""How far each step alone moves a model's outputs, by its strength, before any recovery."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

import numpy as np

PROBED_SHARES = (0.5,)
"""Shares of a step's main range at which it is probed. A probe takes several passes over the
calibration data; what a curve balances roughly is measured along the path."""
SQUARE = 2.0
"""Exponent of the damage of a step that was probed once."""
NOTHING = 1e-12
"""Divergence that counts as none."""
SMALLEST = 1 / 20
"""Share of the first probe below which a step is taken to do nothing."""


@dataclass(frozen=True, kw_only=True)
class DamageCurve:
    """The divergence that a step causes, by the share of its main range."""

    shares: tuple[float, ...]
    """Ascending, in (0, 1]."""
    divergences: tuple[float, ...]
    """Of the outputs from the baseline's, at least 0."""

    def share_at(self, divergence: float) -> float:
        """Return the largest share at which the step causes at most a divergence."""
        shares, divergences = self._logarithms()
        if divergence >= math.exp(divergences[-1]):
            return 1.0
        if divergence < math.exp(divergences[0]):
            return 0.0
        return math.exp(np.interp(math.log(divergence), divergences, shares))

    def divergence_at(self, share: float) -> float:
        """Return the divergence at a share in [0, 1]."""
        shares, divergences = self._logarithms()
        if share < math.exp(shares[0]):
            return 0.0
        return math.exp(np.interp(math.log(share), shares, divergences))

    def _logarithms(self) -> tuple[list[float], list[float]]:
        """Return the logarithms of shares and of divergences that do not fall.

        Between probes, below the first and beyond the last, damage follows a power of the share.
        """
        shares = [math.log(share) for share in self.shares]
        rising = accumulate(self.divergences, max)
        divergences = [math.log(max(value, NOTHING)) for value in rising]
        power = SQUARE
        if len(shares) > 1 and divergences[1] > divergences[0]:
            power = (divergences[1] - divergences[0]) / (shares[1] - shares[0])
        down, up = math.log(SMALLEST), -shares[-1]
        return (
            [shares[0] + down, *shares, *([0.0] if up > 0 else [])],
            [
                divergences[0] + down * power,
                *divergences,
                *([divergences[-1] + up * power] if up > 0 else []),
            ],
        )

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the curve that `dataclasses.asdict` described."""
        return cls(shares=tuple(data["shares"]), divergences=tuple(data["divergences"]))


@dataclass(frozen=True, kw_only=True)
class Damage:
    """The curves of the steps of a space, on one scale from mild to strong.

    A strength in [0, 1] stands for a divergence, on a logarithmic scale from the least that any
    step causes at its first probe to the most that any causes. At one strength each step goes as
    far as it causes that divergence alone, so that steps which damage a model more go less far.
    """

    curves: Mapping[str, DamageCurve]

    def shares(self, steps: Collection[str], strength: float) -> dict[str, float]:
        """Return by step the share of its range at a strength; the strength itself if unknown."""
        level = self._divergence(strength)
        return {
            step: self.curves[step].share_at(level) if step in self.curves else strength
            for step in steps
        }

    def middle(self, steps: Collection[str]) -> float:
        """Return the strength half-way between the least and the most damage of some steps."""
        found = _positive(self.curves[step] for step in steps if step in self.curves)
        every = _positive(self.curves.values())
        if not found or min(every) == max(every):
            return 0.5
        between = (math.log(min(found)) + math.log(max(found))) / 2
        return (between - math.log(min(every))) / (math.log(max(every)) - math.log(min(every)))

    def total(self, shares: Mapping[str, float]) -> float:
        """Return the sum of the divergences that steps cause alone at shares of their ranges."""
        return sum(
            self.curves[step].divergence_at(share)
            for step, share in shares.items()
            if step in self.curves
        )

    def _divergence(self, strength: float) -> float:
        """Return the divergence of a strength; infinite at 1, where all steps go to the end."""
        positive = _positive(self.curves.values())
        if strength >= 1 or not positive:
            return float("inf") if strength >= 1 else 0.0
        lowest, highest = min(positive), max(positive)
        return float(lowest * (highest / lowest) ** strength)


def _positive(curves: Iterable[DamageCurve]) -> list[float]:
    ends = [(min(curve.divergences), curve.divergence_at(1.0)) for curve in curves]
    return [value for end in ends for value in end if value > NOTHING]
