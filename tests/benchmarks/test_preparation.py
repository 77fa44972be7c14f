"""The benchmark of preparation fails beyond its bound."""

import pytest

from benchmarks.preparation import PASSES, exit_status


def test_a_preparation_of_more_passes_than_allowed_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_status({"one": {"passes": PASSES}, "two": {"passes": 0.4}}) == 0
    assert capsys.readouterr().err == ""
    assert exit_status({"one": {"passes": PASSES}, "two": {"passes": PASSES + 0.01}}) == 1
    assert capsys.readouterr().err == "two: preparation costs 5.01 passes, more than 5\n"
