"""The page of a study: whole, offline, and true to the records."""

import base64
import gzip
import json
import re
from dataclasses import replace
from html import unescape

import pytest

from search.config.compose import compose_search
from search.report.page.figures import log_ticks
from search.report.pictures import draw_page
from search.report.result import baseline_of, study_result
from tests.search.report.records import RECORDS, trial

NASTY = '</script><img src=x onerror=alert(1)> & "quotes"'
FAILED = trial(9, status="error", error=f"Traceback\nValueError: 12 of 34 {NASTY}\n")


def page_of(folder, records, *overrides):
    config = compose_search([f"runs_dir={folder}", "study=mine", "tracking=none", *overrides])
    [path] = draw_page(config, study_result(config, records))
    return path.read_text()


def data(page, name):
    [text] = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    return json.loads(text)


@pytest.mark.parametrize(
    "overrides",
    [[], ["objectives=score_size"], ["objectives=score_size", "~objectives.size_bytes"]],
)
@pytest.mark.parametrize("records", [RECORDS, RECORDS[:1], [RECORDS[0], FAILED]])
def test_a_page_is_written_for_any_study_and_needs_no_network(tmp_path, records, overrides):
    page = page_of(tmp_path, records, *overrides)
    outside = re.sub(r'<script type="text/plain" id="plotly">.*?</script>', "", page, flags=re.S)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|@import|url\(|fetch\(""", outside)
    assert not re.search(r"<(link|iframe|img)\b", outside)
    [packed] = re.findall(r'id="plotly">(.*?)</script>', page)
    assert b"plotly.js v" in gzip.decompress(base64.b64decode(packed))[:300]
    assert (tmp_path / "mine").is_dir()


def test_every_measured_trial_is_in_every_figure_once_at_its_values(tmp_path):
    rival = trial(5, origin="rival:int8", violations={"score_drop<=0.1": 0.2})
    records = [*RECORDS, rival, trial(6, origin="rival:4 bits")]
    page = page_of(tmp_path, records)
    figures, measured = data(page, "figures"), [r for r in records if r.status == "ok"]
    assert {"front-0", "front-1", "solid", "history", "parallel"} <= set(figures)
    for name, across, unit in (("front-0", "size_bytes", 1000), ("front-1", "latency_ratio", 1)):
        points = [
            (number, x, y)
            for trace in figures[name]["data"]
            if "customdata" in trace
            for number, x, y in zip(trace["customdata"], trace["x"], trace["y"], strict=True)
        ]
        expected = [(r.number, r.metrics[across] / unit, r.metrics["score"]) for r in measured]
        assert sorted(points) == expected
    shown = data(page, "trials")
    assert set(shown) == {str(record.number) for record in measured}
    assert "prune .40 · share 16" in shown["2"]


def test_the_table_has_the_command_that_exports_each_member(tmp_path):
    page = page_of(tmp_path, RECORDS)
    commands = re.findall(r"<code>(.*?)</code>", page)
    assert commands == [f"paredown export study=mine select={number}" for number in (0, 1, 2)]
    for record in RECORDS[:3]:
        assert f"{record.metrics['score']:.4f} ± 0.0070" in page
    for role in ("knee", "smallest", "fastest", "best"):
        assert role in page


def test_what_a_trial_says_cannot_become_a_part_of_the_page(tmp_path):
    named = trial(5, steps={NASTY: {"ratio": 0.5}})
    better = replace(named, metrics={**named.metrics, "score": 0.999})
    page = page_of(tmp_path, [*RECORDS, better, FAILED])
    assert "<img src=x" not in page
    assert page.count("</script>") == 4
    assert "ValueError: # of #" in page, "numbers do not divide one reason into many"
    assert "<img src=x" in unescape(page)


def test_nothing_is_drawn_without_a_baseline(tmp_path):
    config = compose_search([f"runs_dir={tmp_path}", "tracking=none"])
    result = study_result(config, RECORDS[1:])
    assert baseline_of(result.records) is None
    assert draw_page(config, result) == []


@pytest.mark.parametrize("values", [[0.7, 173.0], [3.0, 3.1], [1.0, 1e6], [0.001, 0.5]])
def test_labels_of_a_logarithmic_axis_are_round_and_enclose_the_values(values):
    ticks = log_ticks(values)
    assert ticks == sorted(ticks)
    assert ticks[0] <= min(values)
    assert ticks[-1] >= max(values) or max(values) / ticks[-1] < 10
    assert {f"{tick:e}"[0] for tick in ticks} <= set("125")
    within = [tick for tick in ticks if min(values) <= tick <= max(values)]
    assert len(within) <= 12
