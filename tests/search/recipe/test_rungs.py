"""Recoveries divided at the rungs, and who goes on at one."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from search.errors import ConfigError
from search.recipe.recipe import Recipe, Step
from search.recipe.rungs import (
    Rungs,
    from_first_training,
    ranking,
    rung_costs,
    trained_until,
    without_training,
)
from search.trial_record import ModelEstimate

RUNGS = Rungs(count=3, factor=3)
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
DISTIL = "compressors.distillation.Distillation"


def recovery(name: str, epochs: float, **values: object) -> Step:
    known = {"epochs": epochs, "first_epoch": 0, "reestimate_batch_norm": False}
    return Step(name=name, target=DISTIL, values=known | values)


PRUNE = Step(
    name="prune", target="compressors.channel_pruning.ChannelPruning", values={"ratio": 0.5}
)
SHARE = Step(
    name="share", target="compressors.weight_sharing.WeightSharing", values={"clusters": 8}
)


def recipe(*steps: Step) -> Recipe:
    return Recipe(steps=steps, seed=3)


WHOLE = recipe(PRUNE, recovery("distil", 18), SHARE, recovery("tune", 3))


def epochs_of(given: Recipe) -> list[tuple[str, float, int]]:
    """Return name, epochs and first epoch of the recoveries."""
    return [
        (step.name, step.values["epochs"], step.values["first_epoch"])
        for step in given.steps
        if step.target == DISTIL
    ]


def test_shares_grow_by_the_factor_up_to_all() -> None:
    assert RUNGS.shares == pytest.approx((1 / 9, 1 / 3, 1))
    assert Rungs(count=2, factor=4).shares == (1 / 4, 1)
    assert Rungs(count=1, factor=4).shares == (1,)


@pytest.mark.parametrize(
    ("count", "factor", "message"),
    [
        (0, 3, r"rungs.count must be a whole number from 1, got 0"),
        (2.5, 3, r"rungs.count must be a whole number from 1, got 2.5"),
        (True, 3, r"rungs.count must be a whole number from 1, got True"),
        (4, 1, r"rungs.factor must be above 1, got 1"),
        (4, float("nan"), r"rungs.factor must be above 1, got nan"),
        (4, "3", r"rungs.factor must be above 1, got '3'"),
    ],
)
def test_impossible_rungs_are_refused(count: int, factor: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Rungs(count=count, factor=factor)


def test_only_the_recovery_before_the_encoding_is_divided() -> None:
    staged = RUNGS.staged(WHOLE)
    names = [step.name for step in staged.steps]
    assert names == ["prune", "distil", "distil.2", "distil.3", "share", "tune"]
    assert epochs_of(staged) == [
        ("distil", 2, 0),
        ("distil.2", 4, 2),
        ("distil.3", 12, 6),
        ("tune", 3, 0),
    ]
    assert staged.seed == WHOLE.seed


@pytest.mark.parametrize("epochs", [1, 2, 5, 0.3, 20])
@pytest.mark.parametrize("rungs", [RUNGS, Rungs(count=2, factor=2), Rungs(count=3, factor=2.5)])
def test_the_parts_of_a_recovery_are_the_whole(rungs: Rungs, epochs: float) -> None:
    parts = epochs_of(rungs.staged(recipe(PRUNE, recovery("distil", epochs, learning_rate=0.01))))
    assert sum(length for _, length, _ in parts) == pytest.approx(epochs, abs=1e-3)
    ends = [first + math.ceil(length) for _, length, first in parts]
    assert [first for _, _, first in parts] == [0, *ends[:-1]]


def test_recoveries_that_do_not_train_are_not_divided() -> None:
    statistics = recipe(PRUNE, recovery("distil", 0, reestimate_batch_norm=True))
    assert RUNGS.staged(statistics) == statistics
    assert trained_until(statistics) == 0


def test_one_rung_changes_nothing() -> None:
    one = Rungs(count=1, factor=3)
    assert one.staged(WHOLE) == WHOLE
    assert one.at(one.staged(WHOLE), 0) == WHOLE


def test_the_last_rung_is_the_whole_recipe() -> None:
    staged = RUNGS.staged(WHOLE)
    assert RUNGS.at(staged, 2) == staged


def test_each_rung_goes_on_where_the_one_before_ended() -> None:
    staged = RUNGS.staged(WHOLE)
    cut = [without_training(staged), *(RUNGS.at(staged, rung) for rung in range(3))]
    for parts, (shorter, longer) in enumerate(itertools.pairwise(cut)):
        trained = 1 + parts  # the pruning and the parts so far
        assert shorter.steps[:trained] == longer.steps[:trained] == staged.steps[:trained]
    divided = [[n for n, _, _ in epochs_of(given) if n != "tune"] for given in cut]
    assert divided == [[], ["distil"], ["distil", "distil.2"], ["distil", "distil.2", "distil.3"]]


def test_recoveries_after_the_encoding_are_shortened() -> None:
    staged = RUNGS.staged(WHOLE)
    tuned = [{n: e for n, e, _ in epochs_of(RUNGS.at(staged, rung))} for rung in range(3)]
    assert [epochs["tune"] for epochs in tuned] == pytest.approx([1 / 3, 1, 3], abs=1e-4)
    assert "tune" not in [name for name, _, _ in epochs_of(without_training(staged))]


def test_without_training_nothing_recovers() -> None:
    whole = recipe(
        PRUNE,
        recovery("distil", 18, reestimate_batch_norm=True),
        SHARE,
        recovery("tune", 2),
    )
    bare = without_training(RUNGS.staged(whole))
    assert [step.name for step in bare.steps] == ["prune", "share"]
    assert bare == without_training(bare)
    only_measured = recipe(PRUNE, recovery("distil", 0, reestimate_batch_norm=True), SHARE)
    assert without_training(only_measured) == only_measured


def test_what_is_trained_and_what_comes_with_and_after_it() -> None:
    staged = RUNGS.staged(WHOLE)
    assert [step.name for step in from_first_training(staged).steps] == [
        s.name for s in staged.steps[1:]
    ]
    assert trained_until(staged) == 4
    assert from_first_training(recipe(PRUNE, SHARE)).steps == ()
    assert trained_until(recipe(PRUNE, SHARE, recovery("tune", 2))) == 0


def test_two_recoveries_are_both_divided() -> None:
    staged = RUNGS.staged(recipe(recovery("distil", 9), PRUNE, recovery("again", 9)))
    halfway = RUNGS.at(staged, 0)
    assert [step.name for step in halfway.steps] == ["distil", "prune", "again"]
    assert [step.name for step in without_training(staged).steps] == ["prune"]


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


@pytest.mark.parametrize("figures", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_ranking_sorts_by_front_against_the_definition(seed: int, figures: int) -> None:
    # Whole numbers, so that rows are equal in some figures or in all.
    costs = np.random.default_rng(seed).integers(0, 6, (25, figures)).astype(float)
    fronts = brute_force_fronts(costs)
    order = ranking(costs)
    assert sorted(order) == list(range(25))
    assert [fronts[row] for row in order] == sorted(fronts)


def test_within_a_front_the_least_crowded_come_first() -> None:
    # One front; the gaps of each figure are divided by its spread, those at an end count twice.
    costs = np.array([[6.0, 50], [0, 100], [7, 45], [10, 0]])
    by_hand = [0.7 + 0.55, 1.2 + 1.0, 0.4 + 0.5, 0.6 + 0.9]
    assert list(ranking(costs)) == list(np.argsort(by_hand)[::-1]) == [1, 3, 0, 2]


def test_rows_that_are_alike_keep_their_order() -> None:
    assert list(ranking(np.ones((4, 2)))) == [0, 1, 2, 3]


def test_the_first_few_at_a_rung_pass() -> None:
    peers: list[Sequence[float]] = []
    for _ in range(3):
        assert RUNGS.passes([9.0, 9.0], peers)
        peers.append([1.0, 1.0])
    assert not RUNGS.passes([9.0, 9.0], peers)


@pytest.mark.parametrize("count", [3, 4, 8, 30])
def test_who_is_beaten_by_all_is_stopped_and_who_beats_all_goes_on(count: int) -> None:
    peers = [[float(n), float(count - n)] for n in range(count)]
    assert not RUNGS.passes([count + 1.0, count + 1.0], peers)
    assert RUNGS.passes([-1.0, -1.0], peers)


def test_a_share_of_one_by_the_factor_passes() -> None:
    line = [[float(n)] for n in range(30)]
    passed = [RUNGS.passes(costs, [peer for peer in line if peer is not costs]) for costs in line]
    assert passed == [True] * 10 + [False] * 20


def test_nothing_to_compare_stops_nobody() -> None:
    costs = rung_costs(ESTIMATE, ["fidelity_db"])
    assert costs == []
    assert RUNGS.passes(costs, [[], [], [], [], []])


def test_what_stands_for_two_objectives_counts_once() -> None:
    costs = rung_costs(ESTIMATE, ["score", "score_drop", "size_bytes", "run_bytes"])
    assert len(costs) == 2
    assert rung_costs(replace(ESTIMATE, nll=0.4), ["score", "size_bytes"])[0] < costs[0]
    # Nearly logarithmic: ten times the bytes is as far everywhere.
    small, middle, large = (
        rung_costs(replace(ESTIMATE, estimated_bytes=size), ["size_bytes"])[0]
        for size in (1e3, 1e4, 1e5)
    )
    assert large - middle == pytest.approx(middle - small, rel=1e-6)
