"""A tracker that fails while a study runs costs a line, and no trial; later it gets everything."""

import socket
import sqlite3
from contextlib import ExitStack, contextmanager
from io import StringIO

import pytest
from rich.console import Console

from search.study import run as run_module
from search.study.run import run_study
from search.study.sync import sync
from search.study.terminal import Display
from search.tracking.mlflow_client import connect
from tests.search.study.test_driver import MadeUp, config

TRIALS = 5


def study(runs_dir, *overrides):
    return config(runs_dir, "tracking=mlflow", f"trials={TRIALS}", *overrides)


def launched(settings):
    """Run a study; return its result and what was printed."""
    text = StringIO()
    result = run_study(settings, MadeUp(slots=1), Display(console=Console(file=text, width=500)))
    assert len(result.records) == settings.trials
    return result, text.getvalue()


def trials_in(settings):
    client = connect(f"sqlite:///{settings.runs_dir / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("paredown")
    runs = client.search_runs([experiment.experiment_id], "tags.`paredown.trial` != ''")
    return sorted(int(run.data.tags["paredown.trial"]) for run in runs)


@contextmanager
def deleted(path):
    path.unlink()
    yield


@contextmanager
def corrupt(path):
    whole = path.read_bytes()
    path.write_bytes(b"no database" * 10_000)
    yield
    path.write_bytes(whole)


@contextmanager
def cut_short(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    yield
    path.write_bytes(whole)


@contextmanager
def a_folder(path):
    kept = path.rename(path.with_name("kept.db"))
    path.mkdir()
    yield
    path.rmdir()
    kept.rename(path)


@contextmanager
def locked(path):
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    yield
    holder.close()


FAULTS = [
    *(deleted, corrupt),
    pytest.param(cut_short, marks=pytest.mark.slow),  # as the one before
    pytest.param(a_folder, marks=pytest.mark.slow),  # as the one before
    pytest.param(locked, marks=pytest.mark.slow),  # SQLite waits 20 seconds for a lock
]


@pytest.mark.parametrize(
    "when",
    [pytest.param("before", marks=pytest.mark.slow), "after"],  # the same faults, only sooner
)
@pytest.mark.slow  # a tracker that is lost and comes back, with its pauses
@pytest.mark.parametrize("fault", FAULTS)
def test_a_database_that_fails_costs_a_line_and_gets_everything_later(
    fault, when, runs_dir, monkeypatch, capfd
):
    settings = study(runs_dir)
    path = runs_dir / "mlflow.db"
    open_mirror = run_module.open_mirror
    with ExitStack() as faults:

        def open_around_fault(opening):
            first = not (settings.folder / "fault").exists()
            (settings.folder / "fault").touch()
            if first and when == "before":
                faults.enter_context(fault(path))
            mirror = open_mirror(opening)
            if first and when == "after":
                faults.enter_context(fault(path))
            return mirror

        monkeypatch.setattr(run_module, "open_mirror", open_around_fault)
        _, said = launched(settings)
    monkeypatch.undo()
    assert said.count("the tracker is behind: ") == (
        0 if (fault, when) == (deleted, "before") else 1
    )
    assert capfd.readouterr().err == ""
    if "paredown sync study=digits" in said:
        sync(settings, Display(console=Console(quiet=True)))
    assert trials_in(settings) == list(range(TRIALS))


@pytest.mark.fault("the tracker's server never answers")
@pytest.mark.slow  # time limits that pass
def test_a_server_that_never_answers_holds_no_trial_up(runs_dir, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        _, said = launched(
            study(runs_dir, f"tracking.uri=http://127.0.0.1:{silent.getsockname()[1]}")
        )
    assert said.count("the tracker is behind: ") == 1
    assert capfd.readouterr().err == ""


def test_a_study_that_has_begun_goes_on_without_its_server(runs_dir):
    gone = "tracking.uri=http://127.0.0.1:9"
    launched(study(runs_dir, "trials=3"))
    result, said = launched(study(runs_dir, gone))
    assert (
        said.count("the tracker is behind: tracking.uri=http://127.0.0.1:9 cannot be reached") == 1
    )
    assert result.links == {}
