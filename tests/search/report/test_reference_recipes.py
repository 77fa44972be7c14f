"""The front is compared with what anybody would try without a search."""

import pytest

from search.pareto.front import pareto_front
from search.report.reference_recipes import compare_with_references
from tests.search.report.small_study import OBJECTIVES, trial

REFERENCES = [
    trial(1, 0.90, 50.0, "rival:int8"),
    trial(2, 0.80, 40.0, "rival:int8 and half the channels"),
    trial(3, 0.0, 0.0, "rival:4 bits", status="error", error="Traceback\nValueError: no"),
]


@pytest.mark.parametrize(
    ("score", "size", "winner"),
    [(0.90, 49.0, 9), (0.91, 50.0, 9), (0.90, 50.0, None), (0.99, 51.0, None), (0.89, 9.0, None)],
)
def test_a_reference_is_beaten_by_what_is_nowhere_worse_and_somewhere_better(score, size, winner):
    records = [*REFERENCES, trial(9, score, size)]
    compared = compare_with_references(records, pareto_front(records, OBJECTIVES), OBJECTIVES)
    assert [comparison.name for comparison in compared] == [
        "int8",
        "int8 and half the channels",
        "4 bits",
    ]
    found = [comparison.winner and comparison.winner.number for comparison in compared]
    assert found == [winner, 9 if size < 40 else None, None]
