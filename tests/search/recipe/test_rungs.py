"""Recoveries divided at the rungs, and the parts of a recipe before and after training."""

import itertools
import math

import pytest

from search.errors import ConfigError
from search.recipe.recipe import Recipe, Step
from search.recipe.rungs import (
    Rungs,
    from_first_training,
    trained_until,
    without_training,
)

RUNGS = Rungs(count=3, factor=3)
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
        (0, 3, r"rungs.count must be a whole number in \[1, 16\], got 0"),
        (2.5, 3, r"rungs.count must be a whole number in \[1, 16\], got 2.5"),
        (True, 3, r"rungs.count must be a whole number in \[1, 16\], got True"),
        (4, 1, r"rungs.factor must be in \(1, 1000\], got 1"),
        (4, float("nan"), r"rungs.factor must be in \(1, 1000\], got nan"),
        (4, "3", r"rungs.factor must be in \(1, 1000\], got '3'"),
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
