"""The strengths that are tried close in on the one at which a bound is nearly used up."""

from collections.abc import Callable

import pytest

from search.proposal.strength.bisection import ENOUGH, MAX_TRIES, NARROW, next_strength

USED: dict[str, Callable[[float], float]] = {
    "all of it is harmless": lambda s: 0.1 * s,
    "the strongest just keeps the bound": lambda s: 0.9 * s,
    "a line": lambda s: 2 * s,
    "steep at the end": lambda s: (s / 0.8) ** 6,
    "a cliff in the middle": lambda s: 0.05 if s < 0.55 else 40.0,
    "a cliff at the start": lambda s: 0.05 if s < 0.15 else float("inf"),
    "nothing is allowed": lambda s: 10.0,
}


def tried(used: Callable[[float], float], start: float) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    while (strength := next_strength(found, start)) is not None:
        assert 0 < strength <= 1
        failed = [s for s, share in found if share > 1]
        assert all(strength < s for s in failed), "stronger than what has failed"
        assert strength not in [s for s, _ in found]
        found.append((strength, used(strength)))
    return found


@pytest.mark.parametrize("start", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", USED)
def test_it_ends_at_the_strongest_that_keeps_the_bound_or_near_it(name: str, start: float) -> None:
    used = USED[name]
    found = tried(used, start)
    assert len(found) <= MAX_TRIES
    kept = [s for s, share in found if share <= 1]
    best = max(kept, default=0.0)
    enough = best >= 1 or used(best) >= ENOUGH or used(min(1.0, best + 2 * NARROW)) > 1
    assert enough or len(found) == MAX_TRIES


def test_the_first_strength_is_the_one_given() -> None:
    assert next_strength([], 0.3) == 0.3


def test_little_damage_leads_to_the_end_at_once() -> None:
    assert next_strength([(0.5, 0.1)], 0.5) == 1.0


def test_the_secant_aims_below_the_bound() -> None:
    # used = 2 s: a share of .7 of the bound is used up at .35
    assert next_strength([(0.25, 0.2), (0.75, 1.2)], 0.5) == pytest.approx(0.5)
    assert next_strength([(0.2, 0.4), (0.6, 1.2)], 0.5) == pytest.approx(0.35)


def test_a_failure_by_far_says_nothing_of_the_way() -> None:
    assert next_strength([(0.2, 0.1), (0.8, 50.0)], 0.5) == pytest.approx(0.5)
