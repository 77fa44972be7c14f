"""The check whether the last trials of a study still gained anything."""

from collections.abc import Mapping

MIN_GROWTH = 0.01
"""Smallest growth, as a share of the hypervolume, at which a study goes on."""


def stagnated(history: Mapping[int, float], trials: int) -> bool:
    """Return whether the last finished trials together added less than 1 % to the hypervolume.

    A hypervolume that stays at 0 has not grown.

    Args:
        history: The hypervolume after each finished trial, by trial number.
        trials: Number of last finished trials to consider, at least 1.
    """
    values = [history[number] for number in sorted(history)]
    if len(values) <= trials:
        return False
    before, now = values[-1 - trials], values[-1]
    return now == before or now < before * (1 + MIN_GROWTH)
