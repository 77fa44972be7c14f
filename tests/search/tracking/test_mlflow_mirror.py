"""MLflow mirrors the records: each trial once, whatever happened in between."""

import dataclasses
import math
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from search.errors import TrackingError
from tests.search.tracking.small_study import (
    FAILED,
    HISTORY,
    PARAMETERS,
    RECORDS,
    artifacts,
    children,
    front_in,
    logged_steps,
    opened,
    parents,
    trial,
    written,
)


def test_every_trial_is_a_child_with_all_parameters_metrics_and_its_recipe(runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS, [1, 3], HISTORY)
    runs = children(mirror)
    assert sorted(runs) == [0, 1, 2, 3]
    for number, run in runs.items():
        record = RECORDS[number]
        assert run.data.metrics == record.metrics
        assert set(run.data.params) == set(PARAMETERS)
        assert run.info.start_time == record.started * 1000
        assert run.info.end_time == record.finished * 1000
        path = mirror.study.client.download_artifacts(run.info.run_id, "recipe.yaml")
        assert yaml.safe_load(Path(path).read_text()) == record.recipe
    assert runs[1].data.params == {"encode": "share", "prune.ratio": "0.1", "share.clusters": "-"}
    assert runs[1].data.tags["mlflow.runName"] == "0001 prune .10"
    assert runs[0].data.tags["paredown.verdict"] == "size gain"


def test_a_failed_trial_is_failed_and_keeps_its_traceback(runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS, [1], HISTORY)
    run = children(mirror)[2]
    assert run.info.status == "FAILED"
    assert run.data.tags["paredown.status"] == "error"
    assert run.data.tags["paredown.error"] == "ValueError: broken"
    path = mirror.study.client.download_artifacts(run.info.run_id, "traceback.txt")
    assert Path(path).read_text() == FAILED["error"]
    assert "traceback.txt" not in artifacts(mirror, children(mirror)[1].info.run_id)


def test_parent_holds_the_configuration_and_the_files_of_the_study(runs_dir):
    mirror = opened(runs_dir)
    picture = runs_dir / "front.png"
    picture.write_bytes(b"png")
    written(mirror, RECORDS, [1], HISTORY)
    mirror.finish([picture])
    parent = mirror.study.client.get_run(mirror.study.run_id)
    assert artifacts(mirror, mirror.study.run_id) == {"config.yaml", "front.png"}
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["paredown.study"] == "digits"
    assert parent.data.tags["paredown.space_hash"] == "abc"
    assert parent.data.tags["mlflow.runName"] == "digits"


def test_syncing_again_or_after_a_restart_changes_nothing(runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:2], [0], {0: 0.0, 1: 0.2})
    written(mirror, RECORDS[:2], [0], {0: 0.0, 1: 0.2})
    again = opened(runs_dir)
    assert again.study.run_id == mirror.study.run_id
    written(again, RECORDS, [1], HISTORY)
    written(again, list(reversed(RECORDS)), [1], HISTORY)
    assert sorted(children(again)) == [0, 1, 2, 3]
    assert logged_steps(again) == sorted(HISTORY.items())
    parents = again.study.client.search_runs(
        [again.study.experiment_id], "tags.`paredown.kind` = 'study'"
    )
    assert len(parents) == 1


def test_only_what_is_new_is_written(runs_dir, monkeypatch):
    mirror = opened(runs_dir)
    history = {0: 0.0, 1: 0.2, 2: 0.2}
    written(mirror, RECORDS[:3], [0, 1], history)
    calls = []
    for name in ("create_run", "log_batch", "set_tag", "set_terminated"):
        monkeypatch.setattr(
            mirror.study.client, name, lambda *a, name=name, **k: calls.append(name)
        )
    written(mirror, RECORDS[:3], [0, 1], history)
    assert calls == []
    written(mirror, RECORDS[:3], [0], history)
    assert calls == ["set_tag"]


def test_members_that_leave_the_front_lose_the_tag(runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:2], [0, 1], {0: 0.0, 1: 0.2})
    assert front_in(mirror) == [0, 1]
    written(mirror, RECORDS, [1, 3], HISTORY)
    assert front_in(mirror) == [1, 3]
    written(opened(runs_dir), RECORDS, [3], HISTORY)
    assert front_in(mirror) == [3]


@pytest.mark.parametrize("killed_in", ["log_batch", "set_terminated"])
def test_a_trial_half_written_by_a_killed_driver_is_completed_once(
    runs_dir, monkeypatch, killed_in
):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:1], [0], {0: 0.0})

    def die(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(mirror.study.client, killed_in, die)
    with pytest.raises(KeyboardInterrupt):
        written(mirror, RECORDS, [1], HISTORY)
    again = opened(runs_dir)
    written(again, RECORDS, [3], HISTORY)
    runs = children(again)
    assert sorted(runs) == [0, 1, 2, 3]
    assert {run.info.status for run in runs.values()} == {"FINISHED", "FAILED"}
    assert runs[1].data.metrics == RECORDS[1].metrics
    assert "recipe.yaml" in artifacts(again, runs[1].info.run_id)
    assert front_in(again) == [3]
    scores = again.study.client.get_metric_history(runs[1].info.run_id, "score")
    assert len(scores) == 1


def test_metrics_measured_later_are_added(runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS, [1], HISTORY)
    metrics = {**RECORDS[1].metrics, "test_score": 0.88}
    late = dataclasses.replace(RECORDS[1], metrics=metrics)
    written(mirror, [RECORDS[0], late, *RECORDS[2:]], [1], HISTORY)
    assert children(mirror)[1].data.metrics == metrics


def test_values_that_are_not_finite_stay_out_of_the_charts(runs_dir):
    mirror = opened(runs_dir)
    metrics = {"score": 0.9, "size_bytes": 5.0, "fidelity_db": math.inf, "nll": math.nan}
    written(mirror, [trial(0, metrics=metrics)], [0], {0: 0.0})
    assert children(mirror)[0].data.metrics == {"score": 0.9, "size_bytes": 5.0}


def test_each_step_of_the_hypervolume_is_logged_once_at_the_end_of_its_trial(runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:2], [1], {0: 0.0})
    written(mirror, RECORDS[2:], [3], HISTORY)
    history = mirror.study.client.get_metric_history(mirror.study.run_id, "hypervolume")
    logged = {metric.step: metric for metric in history}
    assert len(history) == len(logged)
    assert {step: metric.value for step, metric in logged.items()} == HISTORY
    assert all(logged[r.number].timestamp == r.finished * 1000 for r in RECORDS)


def test_what_the_tracker_missed_is_written_the_next_time(runs_dir, monkeypatch):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:1], [0], {0: 0.0})

    def fail(*arguments, **options):
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(mirror.study.client, "log_batch", fail)
        for record in RECORDS[1:3]:
            with pytest.raises(TrackingError, match="no space left"):
                mirror.write_trials([record])
    written(mirror, RECORDS[3:], [1, 3], HISTORY)
    runs = children(mirror)
    assert {n: run.data.metrics for n, run in runs.items()} == {
        r.number: r.metrics for r in RECORDS
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED", "FAILED"}
    assert front_in(mirror) == [1, 3]
    assert logged_steps(mirror) == sorted(HISTORY.items())


@pytest.mark.fault("the tracker's database is deleted")
def test_a_lost_database_is_rebuilt_from_the_records(runs_dir, database):
    written(opened(runs_dir), RECORDS, [1], HISTORY)
    shutil.copy(database, runs_dir / "mlflow.db")
    mirror = opened(runs_dir)
    written(mirror, RECORDS, [1], HISTORY)
    assert sorted(children(mirror)) == [0, 1, 2, 3]


@pytest.mark.slow  # MLflow waits for the lock
@pytest.mark.fault("the tracker's database is locked")
def test_a_locked_database_is_one_error_and_missed_nothing_in_the_end(runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:1], [0], {0: 0.0})
    with closing(sqlite3.connect(runs_dir / "mlflow.db")) as other:
        other.execute("begin exclusive")
        with pytest.raises(TrackingError, match="locked") as raised:
            mirror.write_trials(RECORDS[1:])
        other.rollback()
    assert "\n" not in str(raised.value)
    written(mirror, [], [1], HISTORY)
    assert sorted(children(mirror)) == [0, 1, 2, 3]


@pytest.mark.fault("the tracker's database is damaged")
def test_a_damaged_database_is_one_error(runs_dir, caplog):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:1], [0], {0: 0.0})
    (runs_dir / "mlflow.db").write_bytes(b"damaged" * 10_000)
    with pytest.raises(TrackingError, match="not a database") as first:
        mirror.write_trials(RECORDS[1:])
    with pytest.raises(TrackingError, match="not a database") as second:
        opened(runs_dir)
    assert "\n" not in f"{first.value}{second.value}"
    assert caplog.text == ""


@pytest.mark.fault("the tracker's database is deleted")
def test_a_database_deleted_in_mid_sweep_is_one_error_and_rebuilt_by_the_next(runs_dir, database):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:1], [0], {0: 0.0})
    (runs_dir / "mlflow.db").unlink()
    with pytest.raises(TrackingError, match=r"MLflow at \S+: no such table") as raised:
        mirror.write_trials(RECORDS[1:])
    assert "\n" not in str(raised.value)
    shutil.copy(database, runs_dir / "mlflow.db")  # made anew, as by the next launch
    again = opened(runs_dir)
    written(again, RECORDS, [1], HISTORY)
    assert sorted(children(again)) == [0, 1, 2, 3]


def test_a_study_begun_under_the_former_tags_goes_on_without_doubles(runs_dir):
    former = {"paredown.status": "paredown.outcome", "paredown.origin": "paredown.label"}
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:2], [0, 1], {0: 0.0, 1: 0.2})
    for run in children(mirror).values():
        for new, old in former.items():
            mirror.study.client.set_tag(run.info.run_id, old, run.data.tags[new])
            mirror.study.client.delete_tag(run.info.run_id, new)
    again = opened(runs_dir)
    written(again, RECORDS, [1, 3], HISTORY)
    assert again.study.run_id == mirror.study.run_id
    assert len(parents(again)) == 1
    runs = children(again)
    assert sorted(runs) == [0, 1, 2, 3]
    statuses = [run.data.tags["paredown.status"] for _, run in sorted(runs.items())]
    assert statuses == [record.status for record in RECORDS]
    assert front_in(again) == [1, 3]
    assert logged_steps(again) == sorted(HISTORY.items())
    assert set(again.links()) == {"trials", "charts", "front", "study", "compare"}
