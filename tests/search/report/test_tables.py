"""The tables and pictures say what the records say."""

import io
import json
import re

import matplotlib.image
import pandas as pd
import pytest
from rich.console import Console

from search.pareto.front import pareto_front
from search.report.describe import describe, last_line
from search.report.panels import Panel, panels, quality_window, staircase, write_pictures
from search.report.tables import front_table, trials_frame, write_tables
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize", "latency_ratio": "minimize"}


def trial(number, *, status="ok", params=None, steps=None, **changes):
    metrics = {
        "score": 0.98 - 0.004 * number,
        "score_standard_error": 0.007,
        "score_drop": 0.004 * number,
        "size_bytes": 100_000.0 / (number + 1),
        "run_bytes": 150_000.0 / (number + 1),
        "latency_ratio": 1.0 - 0.1 * number,
        "achieved/prune/parameters_removed": 0.1 * number,
        "seconds": 3.0,
    }
    fields = {
        "origin": "sampled" if number else "baseline",
        "seed": 7,
        "recipe": {"seed": 7, "steps": steps or {}},
        "recipe_hash": f"{number:04x}",
        "metrics": metrics if status == "ok" else {},
        "verdict": "size gain" if status == "ok" else "",
        "error": "" if status == "ok" else "Traceback\n  line 3\nValueError: broken\n",
        "started": 100.0,
        "finished": 104.0,
    }
    return TrialRecord(number=number, status=status, params=params or {}, **(fields | changes))


PRUNE = {"_target_": "compressors.channel_pruning.ChannelPruning", "ratio": 0.4, "round_to": 8}
SHARE = {"_target_": "compressors.weight_sharing.WeightSharing", "clusters": 16}
RECORDS = [
    trial(0),
    trial(1, params={"prune.ratio": 0.4, "encode": "share"}, steps={"prune": PRUNE}),
    trial(
        2, params={"prune.ratio": 0.2, "share.clusters": 16}, steps={"prune": PRUNE, "share": SHARE}
    ),
    trial(3, status="oom"),
    trial(4, violations={"score_drop": 0.1}),
]
FRONT = [record.number for record in pareto_front(RECORDS, OBJECTIVES)]


def test_frame_has_a_row_for_each_trial_and_every_figure_under_its_name():
    frame = trials_frame(list(reversed(RECORDS)), FRONT)
    assert list(frame["number"]) == [0, 1, 2, 3, 4]
    assert list(frame["front"]) == [True, True, True, False, False]
    assert list(frame["feasible"]) == [True, True, True, False, False]
    assert frame["score"][2] == RECORDS[2].metrics["score"]
    assert pd.isna(frame["score"][3])
    assert frame["param.prune.ratio"][1] == 0.4
    assert pd.isna(frame["param.share.clusters"][1])
    assert frame["param.share.clusters"][2] == 16
    assert frame["violation.score_drop"][4] == 0.1
    assert frame["error"][3] == "ValueError: broken"
    assert set(frame["seconds"]) == {4.0}
    assert frame.columns.is_unique


def test_parquet_gives_the_frame_back_and_csv_the_same_columns(tmp_path):
    frame = trials_frame(RECORDS, FRONT)
    parquet, csv = write_tables(frame, tmp_path / "study")
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), frame)
    assert list(pd.read_csv(csv).columns) == list(frame.columns)
    assert sorted(path.name for path in parquet.parent.iterdir()) == [
        "trials.csv",
        "trials.parquet",
    ]


@pytest.mark.parametrize("values", [(1, "a"), (True, 3), (None, None), (1, 2.5), (2**60, 1)])
def test_parameters_of_any_types_can_be_stored(tmp_path, values):
    records = [trial(n, params={"x": value}) for n, value in enumerate(values)]
    frame = trials_frame(records, [])
    pd.testing.assert_frame_equal(pd.read_parquet(write_tables(frame, tmp_path)[0]), frame)


def test_a_study_without_trials_has_an_empty_frame(tmp_path):
    assert trials_frame([], []).empty
    write_tables(trials_frame([], []), tmp_path)


def test_description_names_the_active_steps_with_their_telling_value():
    assert describe(RECORDS[2]) == "prune .40 · share 16"
    assert describe(RECORDS[0]) == "baseline"
    assert describe(trial(5)) == "unchanged"
    steps = {
        "prune": {"_target_": "x", "ratio": 0.0},
        "sparsify": {"_target_": "x", "importance": "magnitude", "ratio": 0.9},
        "quantize": {"_target_": "x", "bits": 8, "symmetric": True},
        "distil": {"_target_": "x", "epochs": 3, "temperature": 4.0},
        "share": {"_target_": "x", "clusters": None},
        "own": {"_target_": "x", "strength": 2.5},
        "plain": {"_target_": "x"},
    }
    told = describe(trial(1, steps=steps))
    assert told == "sparsify .90 · quantize 8 · distil 3 · own 2.5 · plain"


def test_last_line_of_nothing_is_nothing():
    assert last_line("") == last_line("\n \n") == ""


def printed(width, **options):
    stream = io.StringIO()
    table = front_table(RECORDS, FRONT, RECORDS[0])
    Console(file=stream, width=width, **options).print(table)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_front_table_fits_its_width_and_never_breaks_a_number(width):
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    for figure in ("0.9800 ± 0.0070", "0.0080", "100.0", "1/1.5", "1/4.5", "0.80"):
        assert figure in text


def test_front_table_starts_with_the_baseline_and_holds_the_front_once():
    rows = re.findall(r"^ +(\d+) ", printed(100), flags=re.MULTILINE)
    assert rows == ["0", "1", "2"]


def test_panels_show_each_cost_over_the_quality():
    baseline = RECORDS[0]
    assert panels(OBJECTIVES, baseline) == [
        Panel(across="size_bytes", upward="score", colour="latency_ratio"),
        Panel(across="latency_ratio", upward="score", colour="size_bytes"),
    ]
    assert panels({"score": "maximize"}, baseline)[0].across == "size_bytes"
    assert panels({"nll": "minimize", "macs": "minimize"}, baseline)[0].upward == "nll"


def test_staircase_climbs_over_the_feasible_trials():
    panel = Panel(across="size_bytes", upward="score", colour=None)
    across, upward = staircase(RECORDS, panel, OBJECTIVES)
    assert across == sorted(across)
    assert upward == sorted(upward)
    assert RECORDS[4].metrics["size_bytes"] / 1000 not in across


def test_window_holds_the_front_and_the_baseline():
    low, high = quality_window(RECORDS, FRONT, panels(OBJECTIVES, RECORDS[0])[0])
    assert low < RECORDS[2].metrics["score"] < RECORDS[0].metrics["score"] < high


def pixels(path):
    return matplotlib.image.imread(path)


@pytest.mark.parametrize(
    ("records", "objectives"),
    [
        (RECORDS, OBJECTIVES),
        (RECORDS, {"score": "maximize"}),
        (RECORDS, {"score_drop": "minimize", "size_bytes": "minimize"}),
        (RECORDS[:1], OBJECTIVES),
        ([trial(0, violations={"score": 1.0}), *RECORDS[3:]], OBJECTIVES),
    ],
)
def test_pictures_are_written_for_any_study(tmp_path, records, objectives):
    front = [record.number for record in pareto_front(records, objectives)]
    page, image = write_pictures(records, front, objectives, records[0], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"front.html", "front.png"}
    assert pixels(image)[..., :3].std() > 0.02
    assert page.stat().st_size > 1_000_000


def test_page_needs_no_network_and_tells_the_recipe_of_every_measured_trial(tmp_path):
    page, _ = write_pictures(RECORDS, FRONT, OBJECTIVES, RECORDS[0], tmp_path)
    text = page.read_text()
    assert not re.search(r"<(script|link)[^>]*(src|href)=", text)
    for record in RECORDS:
        assert (f"trial {record.number}\\u003c" in text) == (record.status == "ok")
    assert json.dumps("prune .40 · share 16").strip('"') in text
