"""The front as the terminal shows it, and as programs read it."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from search.config.compose import compose_search
from search.report.describe import describe, shortened
from search.report.result import study_result
from search.report.views.front_rows import front_csv, front_json, front_rows
from search.report.views.front_table import front_table
from tests.search.report.records import RECORDS, SHARE, trial

TESTED = {"test_score": 0.97123, "test_score_standard_error": 0.00812}
SECOND = replace(RECORDS[2], metrics={**RECORDS[2].metrics, **TESTED})
RIVAL = trial(7, origin="rival:int8", steps={"share": SHARE})
LARGER = replace(RIVAL, metrics={**RIVAL.metrics, "latency_ratio": 0.99, "size_bytes": 60_000.0})
LONG = trial(8, steps={f"step{n}": {"ratio": 0.1 * n, "x": "y"} for n in range(1, 9)})
SLOW = replace(LONG, metrics={**LONG.metrics, "latency_ratio": 0.4, "size_bytes": 3_456_789.0})


def rows_of(records, tmp_path, selected=None):
    config = compose_search([f"runs_dir={tmp_path}", "tracking=none"])
    result = study_result(config, records)
    return config, result, front_rows(config, result, selected)


def printed(width, tmp_path, records=RECORDS, equal=(), selected=None):
    *_, rows = rows_of(records, tmp_path, selected)
    stream = io.StringIO()
    Console(file=stream, width=width).print(front_table(rows, records[0], equal, width))
    return stream.getvalue()


@pytest.mark.parametrize("equal", [(), (1, 2)])
@pytest.mark.parametrize("width", [80, 99, 100, 120])
@pytest.mark.parametrize("records", [RECORDS, [*RECORDS[:2], SECOND, *RECORDS[3:], LARGER, SLOW]])
def test_the_table_fits_and_breaks_neither_a_number_nor_a_word(records, width, equal, tmp_path):
    text = printed(width, tmp_path, records, equal)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    *_, rows = rows_of(records, tmp_path)
    whole = {word for row in rows for word in describe(row.record).split()}
    roles = {"baseline", "rival", "knee", "smallest", "fastest", "best", "int8:", "…", "=", "±"}
    gains = {"size", "+", "speed", "size,", "simulated"}
    head = {"trial", "score", "test", "se", "kB", "size", "latency", "gain", "recipe"}
    for word in text.split():
        figure = re.fullmatch(r"(1/)?\d+(\.\d+)?|─+", word)
        assert figure or word in whole | roles | gains | head, word
    for row in rows:
        assert re.search(rf"^ +{row.record.number} .*{row.record.metrics['score']:.4f}", text, re.M)


def test_the_table_marks_the_trials_that_one_chooses_from(tmp_path):
    text = printed(120, tmp_path, [*RECORDS[:2], SECOND, *RECORDS[3:], LARGER], selected=RECORDS[1])
    lines = {found[1]: line for line in text.splitlines() if (found := re.match(r" +(\d+) ", line))}
    assert list(lines) == ["0", "1", "2", "7"], "the front below the baseline, rivals below both"
    assert "baseline" in lines["0"]
    assert "selected" in lines["1"]
    assert "0.9712 ± 0.0081" in lines["2"]
    assert "rival" in lines["7"]
    assert "int8: share 16" in lines["7"]
    for role in ("knee", "smallest", "fastest", "best"):
        assert text.count(role) == 1


def test_equal_scores_are_marked_and_the_others_are_not(tmp_path):
    text = printed(100, tmp_path, equal=(1,))
    assert re.findall(r"^ +(\d+) +\S+ ± \S+ =", text, flags=re.MULTILINE) == ["1"]
    assert "=" not in printed(100, tmp_path)


def test_programs_get_every_figure_of_the_same_trials(tmp_path):
    records = [*RECORDS[:2], SECOND, *RECORDS[3:], LARGER]
    config, result, rows = rows_of(records, tmp_path)
    read = json.loads(front_json(config, result, rows))
    lines = list(csv.DictReader(io.StringIO(front_csv(rows))))
    assert [row["trial"] for row in read["rows"]] == [int(line["trial"]) for line in lines]
    assert (read["trials"], read["feasible"]) == (6, 4)
    for row, line in zip(read["rows"], lines, strict=True):
        record = next(r for r in records if r.number == row["trial"])
        assert row["metrics"] == record.metrics
        assert {name: float(line[name]) for name in record.metrics} == record.metrics
        assert row["recipe"] == record.recipe
        assert line["roles"].split() == row["roles"]


@pytest.mark.parametrize("width", range(1, 40))
def test_a_shortened_recipe_is_whole_steps_and_fits(width):
    recipe = "remove .50 · prune .40 · share 16"
    text = shortened(recipe, width)
    assert len(text) <= width
    kept = text.removesuffix("…").removesuffix(" ").removesuffix(" ·")
    assert recipe.startswith(kept)
    assert set(kept.split()) <= set(recipe.split())
    assert (text == recipe) == (width >= len(recipe))
