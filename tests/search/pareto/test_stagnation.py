import pytest

from search.pareto.stagnation import stagnated


@pytest.mark.parametrize(
    ("values", "trials", "expected"),
    [
        ([0.1, 0.2, 0.3], 3, False),  # too few trials to say
        ([0.1, 0.2, 0.2, 0.2], 2, True),
        ([0.1, 0.2, 0.2, 0.2], 3, False),
        ([0.5, 0.5, 0.5049], 2, True),
        ([0.5, 0.5, 0.5051], 2, False),
        ([0.0, 0.0, 0.0], 2, True),
        ([0.0, 0.0, 1e-9], 2, False),
        ([], 1, False),
    ],
)
def test_stagnation_is_growth_below_one_per_cent(values, trials, expected):
    assert stagnated(dict(enumerate(values)), trials) is expected


def test_trials_count_by_number_however_they_came_and_whatever_runs_between():
    history = {7: 0.2, 0: 0.1, 3: 0.2, 5: 0.2}
    assert stagnated(history, 2)
    assert not stagnated(history, 3)
