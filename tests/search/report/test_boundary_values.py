"""Ranges are widened where the front lies at their ends."""

import pytest

from search.recipe.parsing import parse_space
from search.report.boundary_values import boundary_hits
from tests.search.report.small_study import space, trial


def test_ends_of_ranges_where_the_front_lies_move_to_what_the_compressor_accepts():
    front = [trial(n, 0.9, 9.0, params={"sparsify.ratio": 0.98}) for n in range(3)]
    front += [trial(3, 0.9, 9.0, params={"sparsify.ratio": 0.5})]
    others = [trial(n, 0.8, 99.0, params={"sparsify.ratio": n / 20}) for n in range(4, 16)]
    [hit] = boundary_hits(front, [*front, *others], space())
    assert hit.overrides == "steps.sparsify.ratio.high=0.99 steps.sparsify.ratio.step=0.01"
    assert (hit.parameter, hit.value, hit.members, hit.of) == ("sparsify.ratio", 0.98, 3, 4)
    assert (hit.trials, hit.of_trials) == (3, 16)
    assert boundary_hits(front[1:], [*front, *others], space()) == []


def test_an_end_where_the_other_trials_lie_as_often_is_no_better():
    front = [trial(n, 0.9, 9.0, params={"sparsify.ratio": 0.98}) for n in range(4)]
    as_often = [trial(n, 0.8, 99.0, params={"sparsify.ratio": 0.98}) for n in range(4, 16)]
    assert boundary_hits(front, front, space()) == []
    assert boundary_hits(front, [*front, *as_often], space()) == []


@pytest.mark.parametrize(
    ("params", "overrides"),
    [
        ({"share.clusters": 4}, "steps.share.clusters.low=2"),
        ({"share.clusters": 64}, "steps.share.clusters.high=79"),
        ({"distil.epochs": 4}, "steps.distil.epochs.high=5"),
        ({"distil.epochs": 2, "distil.temperature": 8.0}, "steps.distil.temperature.high=9.75"),
    ],
)
def test_every_kind_of_range_is_widened(params, overrides):
    middle = {"share.clusters": 16, "distil.epochs": 2, "distil.temperature": 4.0}
    front = [trial(n, 0.9, 9.0, params=params) for n in range(3)]
    others = [trial(n, 0.8, 99.0, params=middle) for n in range(3, 20)]
    hits = boundary_hits(front, [*front, *others], space())
    assert [hit.overrides for hit in hits] == [overrides]


def test_a_range_that_the_compressor_takes_no_further_is_left():
    front = [trial(n, 0.9, 9.0, params={"distil.epochs": 0}) for n in range(3)]
    front += [trial(n, 0.9, 9.0, params={"sparsify.ratio": 0.0}) for n in range(3)]
    others = [trial(n, 0.8, 9.0, params={"distil.epochs": 2}) for n in range(3, 30)]
    assert boundary_hits(front, [*front, *others], space()) == []


def test_no_recovery_is_made_shorter():
    steps = {
        name: {"_target_": step.target, "epochs": {"_suggest_": "int", "low": 2, "high": 6}}
        for name, step in space().steps.items()
        if name == "distil"
    }
    front = [trial(n, 0.9, 9.0, params={"distil.epochs": 2}) for n in range(4)]
    others = [trial(n, 0.5, 9.0, params={"distil.epochs": 5}) for n in range(4, 40)]
    assert boundary_hits(front, [*front, *others], parse_space(steps, {})) == []
    longer = [trial(n, 0.9, 9.0, params={"distil.epochs": 6}) for n in range(4)]
    [hit] = boundary_hits(longer, [*longer, *others], parse_space(steps, {}))
    assert hit.overrides == "steps.distil.epochs.high=7"
