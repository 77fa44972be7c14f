"""The pictures show what the records say."""

import matplotlib.image
import pytest

from search.pareto.front import pareto_front
from search.report.panels import FrontPicture, Panel, panels, quality_window, staircase
from search.report.png import write_png
from tests.search.report.records import OBJECTIVES, RECORDS, trial


def picture(records, objectives):
    front = [record.number for record in pareto_front(records, objectives)]
    return FrontPicture(
        records=records, front_numbers=front, objectives=objectives, baseline=records[0]
    )


def test_every_measured_trial_is_in_one_group():
    shown = picture(RECORDS, OBJECTIVES)
    groups = [shown.members, shown.dominated, shown.infeasible, [shown.baseline]]
    numbers = [[record.number for record in group] for group in groups]
    assert numbers == [[1, 2], [], [4], [0]]
    assert [record.number for record in shown.measured] == [0, 1, 2, 4]


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
    across, upward = staircase(picture(RECORDS, OBJECTIVES), panel)
    assert across == sorted(across)
    assert upward == sorted(upward)
    assert RECORDS[4].metrics["size_bytes"] / 1000 not in across


def test_window_holds_the_front_and_the_baseline():
    [size, _] = panels(OBJECTIVES, RECORDS[0])
    low, high = quality_window(picture(RECORDS, OBJECTIVES), size)
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
def test_an_image_is_written_for_any_study(tmp_path, records, objectives):
    image = tmp_path / "front.png"
    with image.open("wb") as file:
        write_png(picture(records, objectives), file)
    assert pixels(image)[..., :3].std() > 0.02
