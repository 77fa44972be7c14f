"""The tables say what the records say."""

import pandas as pd
import pytest

from search.report.tables import trials_frame, write_tables
from tests.search.report.records import FRONT, RECORDS, trial


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
