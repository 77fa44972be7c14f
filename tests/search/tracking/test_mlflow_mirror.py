"""MLflow mirrors the records: each trial once, whatever happened in between."""

import dataclasses
import json
import math
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest
import yaml

from search.errors import ConfigError, TrackingError
from search.tracking.base import MlflowTracker, NoTracker, default_uri
from search.tracking.mlflow_client import connect, shown
from search.tracking.ui import serve
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}
PARAMETERS = ["encode", "prune.ratio", "share.clusters"]


def trial(number, **changes):
    fields = {
        "status": "ok",
        "origin": "sampled" if number else "baseline",
        "seed": number,
        "params": {"encode": "share", "prune.ratio": 0.1 * number} if number else {},
        "recipe": {"seed": number, "steps": {"prune": {"_target_": "x.Y", "ratio": 0.1 * number}}},
        "recipe_hash": f"{number:04x}",
        "metrics": {"score": 0.9, "size_bytes": 100.0 - number, "achieved/prune/parameters": 0.5},
        "verdict": "size gain",
        "started": 1000.0 + 10 * number,
        "finished": 1004.0 + 10 * number,
    }
    return TrialRecord(number=number, **(fields | changes))


FAILED = {
    "status": "error",
    "metrics": {},
    "verdict": "",
    "error": "Traceback (most recent call last):\n  File\nValueError: broken",
}
RECORDS = [trial(0), trial(1), trial(2, **FAILED), trial(3)]
HISTORY = {0: 0.0, 1: 0.2, 2: 0.2, 3: 0.4}


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("template")
    connect(default_uri(path))
    return path / "mlflow.db"


@pytest.fixture
def runs_dir(database, tmp_path):
    shutil.copy(database, tmp_path / "mlflow.db")
    return tmp_path


def opened(runs_dir, study="digits", **changes):
    options = {"config_yaml": "trials: 4\n", "tags": {"paredown.space_hash": "abc"}} | changes
    return MlflowTracker().open(
        study, runs_dir, objectives=OBJECTIVES, parameters=PARAMETERS, **options
    )


def written(mirror, records, front, history):
    mirror.sync(records)
    mirror.mark(front, history)


def children(mirror):
    found = mirror.client.search_runs(
        [mirror.experiment_id], f"tags.`mlflow.parentRunId` = '{mirror.run_id}'"
    )
    return {int(run.data.tags["paredown.trial"]): run for run in found}


def logged_steps(mirror):
    history = mirror.client.get_metric_history(mirror.run_id, "hypervolume")
    return sorted((metric.step, metric.value) for metric in history)


def front_in(mirror):
    return sorted(
        number
        for number, run in children(mirror).items()
        if run.data.tags["paredown.front"] == "true"
    )


def artifacts(mirror, run_id):
    return {item.path for item in mirror.client.list_artifacts(run_id)}


KILLED_WHILE_TABLES_ARE_MADE = """
import os, signal, sys
from sqlalchemy import Engine, event
from search.tracking.mlflow_client import connect

@event.listens_for(Engine, "after_cursor_execute")
def kill_among_the_migrations(connection, cursor, statement, *others):
    if "CREATE TABLE issues" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

connect(sys.argv[1])
"""


def test_a_process_killed_while_it_makes_the_tables_is_in_no_later_ones_way(tmp_path):
    command = [sys.executable, "-c", KILLED_WHILE_TABLES_ARE_MADE, default_uri(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [path.stat().st_size > 0 for path in tmp_path.glob("mlflow.db*")] == [True]
    mirror = opened(tmp_path)
    mirror.sync(RECORDS)
    assert sorted(children(mirror)) == [0, 1, 2, 3]
    assert not (tmp_path / "mlflow.db.part").exists()


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
        path = mirror.client.download_artifacts(run.info.run_id, "recipe.yaml")
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
    path = mirror.client.download_artifacts(run.info.run_id, "traceback.txt")
    assert Path(path).read_text() == FAILED["error"]
    assert "traceback.txt" not in artifacts(mirror, children(mirror)[1].info.run_id)


def test_parent_holds_the_configuration_and_the_files_of_the_study(runs_dir):
    mirror = opened(runs_dir)
    picture = runs_dir / "front.png"
    picture.write_bytes(b"png")
    written(mirror, RECORDS, [1], HISTORY)
    mirror.finish([picture])
    parent = mirror.client.get_run(mirror.run_id)
    assert artifacts(mirror, mirror.run_id) == {"config.yaml", "front.png"}
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["paredown.study"] == "digits"
    assert parent.data.tags["paredown.space_hash"] == "abc"
    assert parent.data.tags["mlflow.runName"] == "digits"


def test_syncing_again_or_after_a_restart_changes_nothing(runs_dir):
    mirror = opened(runs_dir)
    written(mirror, RECORDS[:2], [0], {0: 0.0, 1: 0.2})
    written(mirror, RECORDS[:2], [0], {0: 0.0, 1: 0.2})
    again = opened(runs_dir)
    assert again.run_id == mirror.run_id
    written(again, RECORDS, [1], HISTORY)
    written(again, list(reversed(RECORDS)), [1], HISTORY)
    assert sorted(children(again)) == [0, 1, 2, 3]
    assert logged_steps(again) == sorted(HISTORY.items())
    parents = again.client.search_runs([again.experiment_id], "tags.`paredown.kind` = 'study'")
    assert len(parents) == 1


def test_only_what_is_new_is_written(runs_dir, monkeypatch):
    mirror = opened(runs_dir)
    history = {0: 0.0, 1: 0.2, 2: 0.2}
    written(mirror, RECORDS[:3], [0, 1], history)
    calls = []
    for name in ("create_run", "log_batch", "set_tag", "set_terminated"):
        monkeypatch.setattr(mirror.client, name, lambda *a, name=name, **k: calls.append(name))
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

    monkeypatch.setattr(mirror.client, killed_in, die)
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
    scores = again.client.get_metric_history(runs[1].info.run_id, "score")
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
    history = mirror.client.get_metric_history(mirror.run_id, "hypervolume")
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
        broken.setattr(mirror.client, "log_batch", fail)
        for record in RECORDS[1:3]:
            with pytest.raises(TrackingError, match="no space left"):
                mirror.sync([record])
    written(mirror, RECORDS[3:], [1, 3], HISTORY)
    runs = children(mirror)
    assert {n: run.data.metrics for n, run in runs.items()} == {
        r.number: r.metrics for r in RECORDS
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED", "FAILED"}
    assert front_in(mirror) == [1, 3]
    assert logged_steps(mirror) == sorted(HISTORY.items())


def test_studies_stay_apart_even_when_one_takes_the_name_of_another(runs_dir):
    first, other = opened(runs_dir), opened(runs_dir, study="other")
    shutil.rmtree(runs_dir / "digits")
    second = opened(runs_dir)
    assert len({first.run_id, other.run_id, second.run_id}) == 3
    given = {"paredown.study_id": "shared-7"}
    assert opened(runs_dir, tags=given).run_id == opened(runs_dir, tags=given).run_id


def test_a_lost_database_is_rebuilt_from_the_records(runs_dir, database):
    written(opened(runs_dir), RECORDS, [1], HISTORY)
    shutil.copy(database, runs_dir / "mlflow.db")
    mirror = opened(runs_dir)
    written(mirror, RECORDS, [1], HISTORY)
    assert sorted(children(mirror)) == [0, 1, 2, 3]


def test_links_open_the_views_that_the_experiment_keeps(runs_dir):
    mirror = opened(runs_dir)
    assert "compare" not in mirror.links()
    written(mirror, RECORDS, [1, 3], HISTORY)
    links = mirror.links("http://127.0.0.1:7777/")
    assert set(links) == {"trials", "charts", "front", "study", "compare"}
    tags = mirror.client.get_experiment(mirror.experiment_id).tags
    for name in ("trials", "charts", "front"):
        address = links[name]
        assert address.startswith(f"http://127.0.0.1:7777/#/experiments/{mirror.experiment_id}/")
        query = urllib.parse.parse_qs(address.partition("?")[2])
        assert query["workflowType"] == ["machine_learning"]
        view = json.loads(tags["mlflow.sharedViewState." + query["viewStateShareKey"][0]])
        found = mirror.client.search_runs([mirror.experiment_id], view["searchFilter"])
        assert len(found) == (2 if name == "front" else 5)
    query = urllib.parse.parse_qs(links["compare"].partition("?")[2])
    members = [children(mirror)[number].info.run_id for number in (1, 3)]
    assert json.loads(query["runs"][0]) == members


def test_no_tracker_takes_the_same_calls_and_writes_nothing(tmp_path):
    mirror = NoTracker().open(
        "digits", tmp_path, config_yaml="", objectives=OBJECTIVES, parameters=[], tags={}
    )
    written(mirror, RECORDS, [1], HISTORY)
    mirror.finish([])
    assert mirror.links() == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_does_not_answer_is_one_line_before_anything_starts(tmp_path, scheme):
    tracker = MlflowTracker(uri=f"{scheme}://user:secret@127.0.0.1:{free_port()}/mlflow")
    with pytest.raises(TrackingError, match=r"cannot be reached .*tracking=none") as raised:
        tracker.open(
            "digits", tmp_path, config_yaml="", objectives=OBJECTIVES, parameters=[], tags={}
        )
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_deleted_experiment_is_named(runs_dir):
    mirror = opened(runs_dir)
    mirror.client.delete_experiment(mirror.experiment_id)
    with pytest.raises(TrackingError, match="'paredown' is deleted: restore it"):
        opened(runs_dir)


@pytest.mark.parametrize("options", [{"experiment": ""}, {"uri": "localhost"}, {"uri": "mlruns"}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=r"tracking\."):
        MlflowTracker(**options)


def test_shown_uri_has_no_password():
    assert shown("postgresql://me:pw@host/db") == "postgresql://***@host/db"


def test_opening_a_new_database_says_nothing(tmp_path):
    code = (
        "import logging, pathlib; logging.basicConfig(level=logging.INFO)\n"
        "from search.tracking.base import MlflowTracker\n"
        f"mirror = MlflowTracker().open('digits', pathlib.Path({str(tmp_path)!r}),\n"
        "    config_yaml='', objectives={'score': 'maximize'}, parameters=[], tags={})\n"
        "mirror.finish([])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_importing_the_tracker_does_not_import_mlflow():
    code = (
        "import sys, search.tracking.base, search.tracking.ui; assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_ui_names_the_missing_database_and_the_taken_port(runs_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"mlflow\.db does not exist: run `paredown search`"):
        serve(tmp_path / "nowhere")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} .*set another with port="):
            serve(runs_dir, port=port)


@pytest.mark.slow
def test_ui_prints_links_serves_and_ends_on_ctrl_c(runs_dir):
    written(opened(runs_dir), RECORDS, [1, 3], HISTORY)
    port = free_port()
    code = (
        "import pathlib, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from search.tracking.ui import serve\n"
        f"serve(pathlib.Path({str(runs_dir)!r}), port={port})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ui:
        lines = []
        for line in ui.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        address = f"http://127.0.0.1:{port}"
        assert any("compare" in line and address in line for line in lines)
        ui.send_signal(signal.SIGINT)
        rest, errors = ui.communicate(timeout=60)
    assert (rest, errors, ui.returncode) == ("MLflow stopped\n", "", 0)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.1)
    pytest.fail("the server still answers")
