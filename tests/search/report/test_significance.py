"""The tests behind the summary's sentences keep their level, and agree with scipy's."""

import numpy as np
import pytest
from scipy import stats

from search.report.significance import chance_of_at_least, groups_differ, pairs_differ


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_pairs_is_that_of_a_paired_t_test(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.8, 1.0, 8).tolist()
    by_scipy = stats.ttest_1samp(differences, 0.0).pvalue < 0.05
    assert pairs_differ(differences, [0.0] * 8) == by_scipy


def test_pairs_within_their_measurement_error_do_not_differ() -> None:
    assert pairs_differ([0.010, 0.011, 0.012], [0.001] * 3)
    assert not pairs_differ([0.010, 0.011, 0.012], [0.010] * 3)
    assert not pairs_differ([0.010, 0.011], [0.0, 0.0])
    assert not pairs_differ([0.0, 0.0, 0.0], [0.0] * 3)


def test_the_chance_of_a_draw_is_that_of_fishers_exact_test() -> None:
    for marked, drawn, of, total in ((3, 4, 5, 20), (0, 3, 2, 9), (6, 6, 6, 12)):
        table = [[marked, drawn - marked], [of - marked, total - drawn - (of - marked)]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        assert chance_of_at_least(marked, drawn, of=of, total=total) == pytest.approx(expected)


def test_groups_of_fewer_than_ten_never_differ() -> None:
    assert groups_differ([0.0] * 10, [1.0] * 10)
    assert not groups_differ([0.0] * 9, [1.0] * 20)


def test_groups_of_one_kind_differ_as_seldom_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    found = sum(groups_differ(rng.normal(size=12), rng.normal(size=15)) for _ in range(400))
    assert found / 400 <= 0.08
