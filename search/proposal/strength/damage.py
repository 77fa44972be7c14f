"""How far each step alone moves a model's outputs, by its strength, before any recovery."""

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

import numpy as np

SQUARE = 2.0
"""Exponent of the damage of a step that was probed once."""
NOTHING = 1e-12
"""Divergence that counts as none."""
SMALLEST = 1 / 20
"""Share of the first probe below which a step is taken to do nothing."""
GRID = 256
"""Strengths between which damages are told apart."""
MILD = 16.0
"""Factor below the least divergence at a probe at which strengths begin: a quarter of its share."""


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
    """The curves of the steps of a space, on a scale from mild to strong for any of them.

    A strength in [0, 1] of some steps stands for a divergence, on a logarithmic scale from far
    below the least that any of them causes at its first probe to the most that any causes. At one
    strength each step goes as far as it causes that divergence alone, so that steps which damage a
    model more go less far.
    """

    curves: Mapping[str, DamageCurve]

    def shares(self, steps: Collection[str], strength: float) -> dict[str, float]:
        """Return by step the share of its range at a strength; the strength itself if unknown."""
        level = self._divergence(steps, strength)
        return {
            step: self.curves[step].share_at(level) if step in self.curves else strength
            for step in steps
        }

    def middle(self, steps: Collection[str]) -> float:
        """Return the strength half-way between the least and the most damage that was measured."""
        ends = self._ends(steps)
        if ends is None:
            return 0.5
        least, most = ends
        lowest = math.log(least / MILD)
        return (math.log(least * most) / 2 - lowest) / (math.log(most) - lowest)

    def strength_of(self, steps: Collection[str], total: float) -> float:
        """Return the greatest strength at which the damages of some steps add up to a total."""
        strengths = [n / GRID for n in range(GRID + 1)]
        milder = bisect_right(strengths, total, key=lambda s: self.total(self.shares(steps, s)))
        return strengths[max(0, milder - 1)]

    def total(self, shares: Mapping[str, float]) -> float:
        """Return the sum of the divergences that steps cause alone at shares of their ranges."""
        return sum(
            self.curves[step].divergence_at(share)
            for step, share in shares.items()
            if step in self.curves
        )

    def _divergence(self, steps: Collection[str], strength: float) -> float:
        """Return the divergence of a strength; infinite where all steps go to the end.

        They do so at 1, and where none of them is known to cause any.
        """
        ends = self._ends(steps)
        if strength >= 1 or ends is None:
            return float("inf")
        lowest, highest = ends[0] / MILD, ends[1]
        return float(lowest * (highest / lowest) ** strength)

    def _ends(self, steps: Collection[str]) -> tuple[float, float] | None:
        """Return the least divergence at the first probe of any step, and the most of any."""
        curves = [self.curves[step] for step in steps if step in self.curves]
        found = [v for c in curves for v in (min(c.divergences), c.divergence_at(1.0))]
        positive = [value for value in found if value > 2 * NOTHING]
        return (min(positive), max(positive)) if positive else None
