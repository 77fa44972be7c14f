"""The front as the terminal shows it."""

import io
import re

import pytest
from rich.console import Console

from search.report.front_table import front_table
from tests.search.report.records import FRONT, RECORDS


def printed(width, equal=(), **options):
    stream = io.StringIO()
    table = front_table(RECORDS, FRONT, RECORDS[0], equal)
    Console(file=stream, width=width, **options).print(table)
    return stream.getvalue()


@pytest.mark.parametrize("equal", [(), (1, 2)])
@pytest.mark.parametrize("width", [80, 100])
def test_front_table_fits_its_width_and_never_breaks_a_number(width, equal):
    text = printed(width, equal)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    for shown in ("0.9800 ± 0.0070", "0.0080", "100.0", "1/1.5", "1/4.5", "0.80"):
        assert shown in text


def test_front_table_starts_with_the_baseline_and_holds_the_front_once():
    rows = re.findall(r"^ +(\d+) ", printed(100), flags=re.MULTILINE)
    assert rows == ["0", "1", "2"]


def test_equal_scores_are_marked_and_the_others_are_not():
    marked = re.findall(r"^ +(\d+) +\S+ ± \S+ =", printed(100, equal=(1,)), flags=re.MULTILINE)
    assert marked == ["1"]
    assert "=" not in printed(100)
