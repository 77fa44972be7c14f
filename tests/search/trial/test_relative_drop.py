import pytest

from search.trial.relative_drop import relative_drop


@pytest.mark.parametrize(
    ("drop", "baseline", "expected"),
    [(0.1, 0.5, 0.2), (0.1, -0.5, 0.2), (-0.1, 0.5, -0.2), (0.1, 0.0, 0.1), (0.0, 0.0, 0.0)],
)
def test_a_drop_is_a_share_of_the_baseline_unless_that_is_zero(
    drop: float, baseline: float, expected: float
) -> None:
    assert relative_drop(drop, baseline) == pytest.approx(expected)
