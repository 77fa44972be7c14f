"""A study has one mirror: where its tracker changes, the mirror moves."""

import json
import shutil

import pytest

from search.tracking import MlflowTracker
from search.tracking.mlflow_move import PLACE
from tests.search.tracking.small_study import (
    HISTORY,
    RECORDS,
    children,
    description,
    opened,
    parents,
    written,
)


def moved(runs_dir, **options):
    return MlflowTracker(**options).open(description(runs_dir))


@pytest.mark.fault("a study that has begun gets another `tracking.experiment` or `tracking.uri`")
@pytest.mark.parametrize("kept", [True, False])
def test_another_experiment_gets_the_whole_study_and_the_former_one_loses_it(runs_dir, kept):
    former = opened(runs_dir)
    written(former, RECORDS, [1, 3], HISTORY)
    if not kept:  # as in a study of an earlier version
        (runs_dir / "digits" / PLACE).unlink()
    present = moved(runs_dir, experiment="other")
    assert present.note.startswith("the mirror moved: its 5 runs in experiment ")
    written(present, RECORDS, [1, 3], HISTORY)
    assert sorted(children(present)) == [0, 1, 2, 3]
    assert len(parents(present)) == 1
    assert former.study.client.search_runs([former.study.experiment_id]) == []
    assert moved(runs_dir, experiment="other").note == ""
    assert opened(runs_dir).note.startswith("the mirror moved: its 5 runs in experiment 'other'")


def test_another_database_gets_the_whole_study_and_the_former_one_loses_it(runs_dir, database):
    written(opened(runs_dir), RECORDS, [1, 3], HISTORY)
    elsewhere = runs_dir / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(database, elsewhere / "mlflow.db")
    present = moved(runs_dir, uri=f"sqlite:///{elsewhere / 'mlflow.db'}")
    written(present, RECORDS, [1, 3], HISTORY)
    assert "5 runs" in present.note
    assert sorted(children(present)) == [0, 1, 2, 3]
    again = opened(runs_dir)
    assert children(again) == {}
    assert "5 runs" in again.note


def test_studies_of_others_stay_where_they_are(runs_dir):
    other = opened(runs_dir, name="other")
    written(other, RECORDS, [1, 3], HISTORY)
    written(opened(runs_dir), RECORDS, [1, 3], HISTORY)
    moved(runs_dir, experiment="new")
    assert sorted(children(other)) == [0, 1, 2, 3]


def test_a_former_server_that_is_gone_is_said_and_asked_again(runs_dir):
    opened(runs_dir)
    place = runs_dir / "digits" / PLACE
    place.write_text(json.dumps({"uri": "http://127.0.0.1:9", "experiment": "paredown"}))
    for _ in range(2):
        assert "stays as it is: " in opened(runs_dir).note


def test_a_copied_runs_folder_leaves_the_mirror_of_the_original_alone(runs_dir, tmp_path_factory):
    original = opened(runs_dir)
    written(original, RECORDS, [1, 3], HISTORY)
    copied = shutil.copytree(runs_dir, tmp_path_factory.mktemp("copy") / "runs")
    assert opened(copied).note == ""
    assert moved(copied, experiment="other").note != ""
    assert sorted(children(original)) == [0, 1, 2, 3]
