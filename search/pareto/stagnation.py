"""Whether a study still gains anything by going on."""

from collections.abc import Mapping

GROWTH = 0.01
"""The share by which the hypervolume must grow for the search to be worth going on with."""


def stagnated(history: Mapping[int, float], trials: int) -> bool:
    """Tell whether the last finished trials together added less than 1 % to the hypervolume.

    A hypervolume that was and still is 0 has not grown.

    Arguments:
        history: the hypervolume after each finished trial, by trial number.
        trials: how many of the last finished trials to look at, at least 1.
    """
    values = [history[number] for number in sorted(history)]
    if len(values) <= trials:
        return False
    before, now = values[-1 - trials], values[-1]
    return now == before or now < before * (1 + GROWTH)
