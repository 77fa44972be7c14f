"""Whatever was done to a mirror, opening and writing it again makes it that of the records."""

import shutil
from urllib.parse import urlsplit

import pytest

from tests.search.tracking.small_study import (
    HISTORY,
    RECORDS,
    artifacts,
    children,
    front_in,
    logged_steps,
    opened,
    parents,
    written,
)

FRONT = [1, 3]


def lose_the_parent(mirror):
    mirror.study.client.delete_run(mirror.study.run_id)


def lose_a_trial(mirror):
    mirror.study.client.delete_run(children(mirror)[1].info.run_id)


def double_a_trial(mirror):
    tags = children(mirror)[3].data.tags
    mirror.study.client.create_run(mirror.study.experiment_id, tags=tags)


def reopen_a_trial(mirror):
    mirror.study.client.update_run(children(mirror)[2].info.run_id, status="RUNNING")


def call_a_failed_trial_finished(mirror):
    mirror.study.client.set_terminated(children(mirror)[2].info.run_id, "FINISHED")


def change_a_metric(mirror):
    mirror.study.client.log_metric(children(mirror)[1].info.run_id, "score", 0.1)


def lose_tags(mirror):
    run = children(mirror)[1].info.run_id
    for tag in ("mlflow.parentRunId", "paredown.recipe_hash", "paredown.front"):
        mirror.study.client.delete_tag(run, tag)


def unreadable_number(mirror):
    mirror.study.client.set_tag(children(mirror)[1].info.run_id, "paredown.trial", "one")


def lose_files(mirror):
    shutil.rmtree(urlsplit(children(mirror)[1].info.artifact_uri).path)


def change_the_hypervolume(mirror):
    mirror.study.client.log_metric(mirror.study.run_id, "hypervolume", 0.9, step=1)


def mark_the_wrong_front(mirror):
    mirror.study.client.set_tag(children(mirror)[0].info.run_id, "paredown.front", "true")


DAMAGES = [
    *(lose_the_parent, lose_a_trial, double_a_trial, reopen_a_trial, change_a_metric, lose_tags),
    *(call_a_failed_trial_finished, unreadable_number, lose_files, change_the_hypervolume),
    mark_the_wrong_front,
]


def assert_whole(mirror):
    """Check a mirror against the records by reading MLflow alone."""
    found = mirror.study.client.search_runs([mirror.study.experiment_id])
    assert len(found) == 1 + len(RECORDS)
    assert len(parents(mirror)) == 1
    runs = children(mirror)
    assert sorted(runs) == [0, 1, 2, 3]
    for record in RECORDS:
        run = runs[record.number]
        assert run.data.metrics == record.metrics
        assert run.data.params["encode"] == str(record.params.get("encode", "-"))
        assert run.data.tags["paredown.recipe_hash"] == record.recipe_hash
        assert run.info.status == ("FINISHED" if record.status == "ok" else "FAILED")
        assert "recipe.yaml" in artifacts(mirror, run.info.run_id)
    assert front_in(mirror) == FRONT
    assert logged_steps(mirror) == sorted(HISTORY.items())


def names(damages):
    return "-".join(damage.__name__ for damage in damages)


@pytest.mark.fault("runs were deleted, doubled or changed in the tracker")
@pytest.mark.parametrize(
    "damages",
    [
        (double_a_trial, lose_files, mark_the_wrong_front, lose_the_parent),
        (change_the_hypervolume, call_a_failed_trial_finished, lose_a_trial),
        # the others one by one, each with a database of its own
        *(pytest.param((damage,), marks=pytest.mark.slow) for damage in DAMAGES),
    ],
    ids=names,
)
def test_a_damaged_mirror_is_made_whole(damages, runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS, FRONT, HISTORY)
    for damage in damages:
        damage(mirror)
    again = opened(runs_dir)
    written(again, RECORDS, FRONT, HISTORY)
    assert_whole(again)


def test_a_whole_mirror_is_left_as_it_is(runs_dir, monkeypatch):
    written(opened(runs_dir), RECORDS, FRONT, HISTORY)
    again = opened(runs_dir)
    client = again.study.client
    for change in ("create_run", "delete_run", "log_batch", "set_tag", "set_terminated"):
        monkeypatch.setattr(client, change, lambda *a, **k: pytest.fail("something is written"))
    written(again, RECORDS, FRONT, HISTORY)


def test_runs_of_others_are_left_alone(runs_dir):
    mirror, other = opened(runs_dir), opened(runs_dir, name="other")
    written(other, RECORDS, FRONT, HISTORY)
    stranger = mirror.study.client.create_run(mirror.study.experiment_id)
    written(mirror, RECORDS, FRONT, HISTORY)
    change_the_hypervolume(mirror)
    written(opened(runs_dir), RECORDS, FRONT, HISTORY)
    found = mirror.study.client.search_runs([mirror.study.experiment_id])
    assert len(found) == 2 * (1 + len(RECORDS)) + 1
    assert stranger.info.run_id in {run.info.run_id for run in found}
    assert children(other).keys() == {0, 1, 2, 3}
