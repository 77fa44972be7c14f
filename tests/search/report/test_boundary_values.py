"""Ranges are widened where the front lies at their ends."""

import pytest

from search.report.boundary_values import boundary_hits
from tests.search.report.small_study import space, trial


def test_ends_of_ranges_where_the_front_lies_move_to_what_the_compressor_accepts():
    front = [trial(n, 0.9, 9.0, params={"sparsify.ratio": 0.98}) for n in range(3)]
    front += [trial(3, 0.9, 9.0, params={"sparsify.ratio": 0.5})]
    [hit] = boundary_hits(front, space())
    assert hit.overrides == "steps.sparsify.ratio.high=0.99 steps.sparsify.ratio.step=0.01"
    assert (hit.parameter, hit.value, hit.members, hit.of) == ("sparsify.ratio", 0.98, 3, 4)
    assert boundary_hits(front[1:], space()) == []


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
    hits = boundary_hits([trial(n, 0.9, 9.0, params=params) for n in range(3)], space())
    assert [hit.overrides for hit in hits] == [overrides]


def test_a_range_that_the_compressor_takes_no_further_is_left():
    front = [trial(n, 0.9, 9.0, params={"distil.epochs": 0}) for n in range(3)]
    front += [trial(n, 0.9, 9.0, params={"sparsify.ratio": 0.0}) for n in range(3)]
    assert boundary_hits(front, space()) == []
