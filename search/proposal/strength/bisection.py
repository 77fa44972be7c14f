"""The strength to try next, towards the one at which a bound is nearly used up."""

from collections.abc import Sequence

AIM = 0.7
"""Share of the bound that a trial aims at; at 1 every second one would break it."""
ENOUGH = 0.5
"""Share of the bound from which on a strength is good enough to go no further."""
LITTLE = 0.25
"""Share of the bound below which the strongest is tried at once."""
NARROW = 1 / 8
"""Distance of strengths below which two differ in nothing that matters."""
FAR = 3.0
"""Share of the bound from which on a failure says nothing but that it failed."""
MAX_TRIES = 5

Tried = Sequence[tuple[float, float]]
"""Strengths in [0, 1], each with the share of the bound that it used up."""


def next_strength(tried: Tried, start: float) -> float | None:
    """Return the strength to try next; None if the best one is known well enough.

    What a strength uses up is taken to rise with it. Between a strength that keeps the bound and
    one that breaks it the next is that of the secant, or the middle where the failure is so far
    off that it says nothing of the way; nothing stronger than the weakest failure is tried.

    Args:
        tried: What was tried, in any order.
        start: The first strength.
    """
    if not tried:
        return start
    if len(tried) >= MAX_TRIES:
        return None
    good = {strength: used for strength, used in tried if used <= 1}
    low = max(good, default=0.0)
    used_low = good.get(low, 0.0)
    failed = [(strength, used) for strength, used in tried if used > 1 and strength > low]
    if not failed:
        return _stronger(low, used_low)
    high, used_high = min(failed)
    if high - low < NARROW or used_low >= ENOUGH:
        return None
    place = (AIM - used_low) / (used_high - used_low) if used_high < FAR else 0.5
    return low + (high - low) * min(max(place, 0.25), 0.75)


def _stronger(low: float, used: float) -> float | None:
    """Return a strength above one that keeps the bound, where none is known to break it."""
    if low >= 1 or used >= ENOUGH:
        return None
    wanted = 1.0 if used <= LITTLE else low * AIM / used
    return min(1.0, max(wanted, low + NARROW))
