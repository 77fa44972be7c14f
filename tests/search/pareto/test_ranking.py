"""The ranking of trials at a rung, and which of them pass."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from search.pareto.ranking import passes, ranking, rung_costs
from search.trial_record import ModelEstimate

FACTOR = 3.0
ESTIMATE = ModelEstimate(
    share=0.0,
    model="made up",
    estimated_bytes=2000.0,
    macs=10.0,
    parameters=100,
    nonzeros=100,
    integers=False,
    nll=0.5,
)


def brute_force_fronts(costs: np.ndarray) -> list[int]:
    """Return the front of each row by its definition: who is beaten by none that is left."""
    fronts, left = [-1] * len(costs), set(range(len(costs)))
    for front in itertools.count():
        if not left:
            return fronts
        beaten = {
            one
            for one, other in itertools.permutations(left, 2)
            if (costs[other] <= costs[one]).all() and (costs[other] < costs[one]).any()
        }
        for row in left - beaten:
            fronts[row] = front
        left = beaten
    return fronts


@pytest.mark.parametrize("metrics", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_ranking_sorts_by_front_against_the_definition(seed: int, metrics: int) -> None:
    # Whole numbers, so that rows are equal in some metrics or in all.
    costs = np.random.default_rng(seed).integers(0, 6, (25, metrics)).astype(float)
    fronts = brute_force_fronts(costs)
    order = ranking(costs)
    assert sorted(order) == list(range(25))
    assert [fronts[row] for row in order] == sorted(fronts)


def test_within_a_front_the_least_crowded_come_first() -> None:
    # One front; the gaps of each metric are divided by its spread, those at an end count twice.
    costs = np.array([[6.0, 50], [0, 100], [7, 45], [10, 0]])
    by_hand = [0.7 + 0.55, 1.2 + 1.0, 0.4 + 0.5, 0.6 + 0.9]
    assert list(ranking(costs)) == list(np.argsort(by_hand)[::-1]) == [1, 3, 0, 2]


def test_rows_that_are_alike_keep_their_order() -> None:
    assert list(ranking(np.ones((4, 2)))) == [0, 1, 2, 3]


def test_the_first_few_at_a_rung_pass() -> None:
    peers: list[Sequence[float]] = []
    for _ in range(3):
        assert passes([9.0, 9.0], peers, FACTOR)
        peers.append([1.0, 1.0])
    assert not passes([9.0, 9.0], peers, FACTOR)


@pytest.mark.parametrize("count", [3, 4, 8, 30])
def test_who_is_beaten_by_all_is_stopped_and_who_beats_all_goes_on(count: int) -> None:
    peers = [[float(n), float(count - n)] for n in range(count)]
    assert not passes([count + 1.0, count + 1.0], peers, FACTOR)
    assert passes([-1.0, -1.0], peers, FACTOR)


def test_a_share_of_one_by_the_factor_passes() -> None:
    line = [[float(n)] for n in range(30)]
    passed = [passes(costs, [peer for peer in line if peer is not costs], FACTOR) for costs in line]
    assert passed == [True] * 10 + [False] * 20


def test_nothing_to_compare_stops_nobody() -> None:
    costs = rung_costs(ESTIMATE, ["fidelity_db"])
    assert costs == []
    assert passes(costs, [[], [], [], [], []], FACTOR)


def test_what_stands_for_two_objectives_counts_once() -> None:
    costs = rung_costs(ESTIMATE, ["score", "score_drop", "size_bytes", "run_bytes"])
    assert len(costs) == 2
    assert rung_costs(replace(ESTIMATE, nll=0.4), ["score", "size_bytes"])[0] < costs[0]
    # Nearly logarithmic: ten times the bytes is as far everywhere.
    sizes = (replace(ESTIMATE, estimated_bytes=size) for size in (1e3, 1e4, 1e5))
    small, middle, large = (rung_costs(estimate, ["size_bytes"])[0] for estimate in sizes)
    assert large - middle == pytest.approx(middle - small, rel=1e-6)
