"""MLflow is opened whole, quietly, and with errors that are one line."""

import signal
import subprocess
import sys

import pytest

from search.errors import TrackingError
from search.tracking import MlflowTracker
from search.tracking.mlflow_database import default_uri
from tests.search.tracking.small_study import RECORDS, children, description, free_port, opened

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


@pytest.mark.slow  # processes that load MLflow
def test_a_process_killed_while_it_makes_the_tables_is_in_no_later_ones_way(tmp_path):
    command = [sys.executable, "-c", KILLED_WHILE_TABLES_ARE_MADE, default_uri(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [path.stat().st_size > 0 for path in tmp_path.glob("mlflow.db*")] == [True]
    mirror = opened(tmp_path)
    mirror.write_trials(RECORDS)
    assert sorted(children(mirror)) == [0, 1, 2, 3]
    assert not (tmp_path / "mlflow.db.part").exists()


@pytest.mark.fault("a given `tracking.uri` does not answer")
@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_does_not_answer_is_one_line_before_anything_starts(tmp_path, scheme):
    tracker = MlflowTracker(uri=f"{scheme}://user:secret@127.0.0.1:{free_port()}/mlflow")
    with pytest.raises(TrackingError, match=r"cannot be reached .*tracking=none") as raised:
        tracker.open(description(tmp_path))
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.slow  # a process that loads MLflow
def test_opening_a_new_database_says_nothing(tmp_path):
    code = (
        "import logging, pathlib; logging.basicConfig(level=logging.INFO)\n"
        "from search.tracking import MlflowTracker\n"
        "from search.tracking.base import StudyDescription\n"
        "mirror = MlflowTracker().open(StudyDescription(\n"
        f"    name='digits', runs_dir=pathlib.Path({str(tmp_path)!r}), config_yaml='',\n"
        "    objectives={'score': 'maximize'}, parameters=[], tags={}))\n"
        "mirror.finish([])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_importing_the_tracker_does_not_import_mlflow():
    code = (
        "import sys, search.tracking, search.tracking.ui\n"
        "assert not {'mlflow', 'pandas', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
