"""Strengths stand for damage, so that steps which damage a model more go less far."""

import pytest

from search.proposal.strength.damage import Damage, DamageCurve

GENTLE = DamageCurve(shares=(0.25, 0.5, 0.75, 1.0), divergences=(0.001, 0.01, 0.1, 1.0))
HARSH = DamageCurve(shares=(0.25, 0.5, 0.75, 1.0), divergences=(0.1, 1.0, 4.0, 4.0))
DAMAGE = Damage(curves={"gentle": GENTLE, "harsh": HARSH})


def test_a_share_is_the_largest_that_does_no_more_damage() -> None:
    assert HARSH.share_at(1.0) == 0.5
    assert HARSH.share_at(2.5) == 0.625  # half-way from 1 to 4
    assert HARSH.share_at(4.0) == 1.0
    assert HARSH.share_at(0.05) == 0.125  # half-way from nothing to .1
    assert HARSH.share_at(0.0) == 0.0


def test_damage_that_falls_counts_as_what_came_before() -> None:
    noisy = DamageCurve(shares=(0.5, 1.0), divergences=(2.0, 1.0))
    assert noisy.share_at(1.0) == 0.25
    assert noisy.share_at(2.0) == 1.0
    assert noisy.divergence_at(1.0) == 2.0


def test_at_one_strength_the_harsher_step_goes_less_far() -> None:
    for strength in (0.1, 0.3, 0.5, 0.7, 0.9):
        shares = DAMAGE.shares(["gentle", "harsh"], strength)
        assert shares["harsh"] < shares["gentle"]
    assert DAMAGE.shares(["gentle", "harsh"], 1.0) == {"gentle": 1.0, "harsh": 1.0}


def test_shares_rise_with_the_strength() -> None:
    found = [DAMAGE.shares(["harsh"], n / 10)["harsh"] for n in range(11)]
    assert found == sorted(found)


def test_a_strength_is_a_place_in_the_order_of_magnitude() -> None:
    # from .001 to 4; half-way lies sqrt(.001 * 4) = .0632
    assert DAMAGE.shares(["gentle"], 0.5)["gentle"] == pytest.approx(
        0.5 + 0.25 * (0.0632456 - 0.01) / 0.09, abs=1e-5
    )
    assert DAMAGE.middle(["gentle", "harsh"]) == 0.5
    assert DAMAGE.middle(["harsh"]) > 0.5 > DAMAGE.middle(["gentle"])


def test_without_a_curve_the_strength_is_the_share() -> None:
    assert Damage(curves={}).shares(["own"], 0.4) == {"own": 0.4}
    assert DAMAGE.shares(["own"], 0.4) == {"own": 0.4}
    assert Damage(curves={}).middle(["own"]) == 0.5


def test_damages_add_up() -> None:
    assert DAMAGE.total({"gentle": 0.5, "harsh": 0.25, "own": 1.0}) == pytest.approx(0.11)
