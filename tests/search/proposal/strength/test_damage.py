"""Strengths stand for damage, so that steps which damage a model more go less far."""

import pytest

from search.proposal.strength.damage import GRID, Damage, DamageCurve

# damage that grows with the cube of the share, and with its square up to a ceiling
GENTLE = DamageCurve(shares=(0.5, 1.0), divergences=(0.01, 0.08))
HARSH = DamageCurve(shares=(0.25, 0.5, 1.0), divergences=(1.0, 4.0, 4.0))
DAMAGE = Damage(curves={"gentle": GENTLE, "harsh": HARSH})


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 1.0])
def test_damage_is_a_power_of_the_share_between_probes_and_below_the_first(share: float) -> None:
    assert GENTLE.divergence_at(share) == pytest.approx(0.08 * share**3)
    assert GENTLE.share_at(0.08 * share**3) == pytest.approx(share)


def test_a_share_is_the_largest_that_does_no_more_damage() -> None:
    assert HARSH.share_at(1.0) == pytest.approx(0.25)
    assert HARSH.share_at(2.25) == pytest.approx(0.375)
    assert HARSH.share_at(4.0) == 1.0
    assert HARSH.share_at(100.0) == 1.0
    assert HARSH.share_at(0.0) == 0.0
    assert HARSH.divergence_at(0.0) == 0.0


def test_a_step_that_was_probed_once_does_damage_with_the_square() -> None:
    once = DamageCurve(shares=(1.0,), divergences=(3.0,))
    assert once.divergence_at(0.5) == pytest.approx(0.75)


def test_a_curve_goes_on_beyond_its_last_probe() -> None:
    half = DamageCurve(shares=(0.5,), divergences=(1.0,))
    assert half.divergence_at(1.0) == pytest.approx(4.0)
    assert half.share_at(2.25) == pytest.approx(0.75)
    assert half.share_at(100.0) == 1.0
    found = Damage(curves={"half": half, "gentle": GENTLE}).shares(["half", "gentle"], 1.0)
    assert found == {"half": 1.0, "gentle": 1.0}


def test_damage_that_falls_counts_as_what_came_before() -> None:
    noisy = DamageCurve(shares=(0.5, 1.0), divergences=(2.0, 1.0))
    assert noisy.share_at(2.0) == 1.0
    assert noisy.share_at(1.9) < 0.5
    assert noisy.divergence_at(1.0) == pytest.approx(2.0)


def test_a_step_that_does_nothing_goes_to_its_end() -> None:
    free = DamageCurve(shares=(0.5, 1.0), divergences=(0.0, 0.0))
    assert Damage(curves={"free": free, "harsh": HARSH}).shares(["free"], 0.1) == {"free": 1.0}


def test_at_one_strength_the_harsher_step_goes_less_far() -> None:
    for strength in (0.1, 0.2, 0.4, 0.6):
        shares = DAMAGE.shares(["gentle", "harsh"], strength)
        assert shares["harsh"] < shares["gentle"]
    assert DAMAGE.shares(["gentle", "harsh"], 1.0) == {"gentle": 1.0, "harsh": 1.0}


def test_shares_rise_with_the_strength() -> None:
    found = [DAMAGE.shares(["harsh"], n / 10)["harsh"] for n in range(11)]
    assert found == sorted(found)


def test_a_strength_is_a_place_in_the_order_of_magnitude() -> None:
    # from a sixteenth of .01 to 4; half-way lies .05
    assert DAMAGE.shares(["gentle", "harsh"], 0.5) == {
        "gentle": pytest.approx((0.05 / 0.08) ** (1 / 3)),
        "harsh": pytest.approx(0.25 * 0.05**0.5),
    }


@pytest.mark.parametrize("step", ["gentle", "harsh"])
def test_the_mildest_of_a_step_alone_is_far_below_its_first_probe(step: str) -> None:
    curve = DAMAGE.curves[step]
    (share,) = DAMAGE.shares([step], 0.0).values()
    assert curve.divergence_at(share) == pytest.approx(curve.divergences[0] / 16)
    assert DAMAGE.shares([step], DAMAGE.middle([step]))[step] > curve.shares[0]


def test_without_a_curve_the_strength_is_the_share() -> None:
    assert Damage(curves={}).shares(["own"], 0.4) == {"own": 0.4}
    assert DAMAGE.shares(["own"], 0.4) == {"own": 0.4}
    assert Damage(curves={}).middle(["own"]) == 0.5


def test_damages_add_up() -> None:
    assert DAMAGE.total({"gentle": 0.5, "harsh": 0.25, "own": 1.0}) == pytest.approx(1.01)


@pytest.mark.parametrize("total", [0.03, 0.1, 1.0, 3.0])
def test_a_strength_is_found_for_a_total(total: float) -> None:
    steps = ["gentle", "harsh"]
    found = DAMAGE.strength_of(steps, total)
    assert DAMAGE.total(DAMAGE.shares(steps, found)) <= total
    assert DAMAGE.total(DAMAGE.shares(steps, found + 1 / GRID)) > total
