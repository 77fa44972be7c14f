"""The expected end of a study is exact where trials take equal time, and never after its limit."""

import io

import pytest
from rich.console import Console

from search.study.progress.expected_end import clock, seconds_to_end
from search.study.terminal import Display
from search.trial_record import TrialRecord
from tests.search.made_up_records import trial

SECONDS = 30.0


def finished(count: int, slots: int) -> list[TrialRecord]:
    """Return the first trials of a study whose trials take `SECONDS` each, after quick ones."""
    quick = [trial(0, "baseline"), trial(1, "rival:int8"), trial(2, "opening:share")]
    later = [
        trial(n, started=n // slots * SECONDS, finished=(n // slots + 1) * SECONDS)
        for n in range(3, count)
    ]
    return [*quick, *later]


@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("count", [4, 10, 39])
def test_it_is_what_the_missing_trials_take(count: int, slots: int) -> None:
    found = seconds_to_end(finished(count, slots), 43, slots, float("inf"))
    assert found == pytest.approx((43 - count) * SECONDS / slots)


def test_it_is_not_after_the_limit() -> None:
    assert seconds_to_end(finished(10, 2), 1000, 2, 77.0) == 77.0
    assert seconds_to_end(finished(10, 2), 1000, 2, -3.0) == 0.0


def test_it_is_unknown_before_a_trial_tells() -> None:
    assert seconds_to_end(finished(3, 2), 40, 2, 100.0) is None


def test_another_day_is_named() -> None:
    assert ":" in clock(0)
    assert len(clock(3 * 86400)) > len(clock(0))


def test_output_to_a_file_says_it_after_every_tenth_trial() -> None:
    text = io.StringIO()
    display = Display(console=Console(file=text, width=200))
    with display.progress(total=40, done=0):
        for number in range(21):
            display.trial(trial(number, status="infeasible"), {"run_bytes": 1.0}, 60.0)
    lines = [line for line in text.getvalue().splitlines() if "ends about" in line]
    assert [line.partition(";")[0] for line in lines] == ["10 of 40 trials", "20 of 40 trials"]
