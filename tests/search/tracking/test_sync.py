"""`paredown sync` makes the mirror of a study that of its journal, and changes nothing twice."""

import sys

import pytest
from rich.console import Console

from search.cli import main
from search.errors import ConfigError, StudyError
from search.study.journal_file import driver_lock
from search.study.run import run_study
from search.study.sync import sync
from search.study.terminal import Display
from search.tracking.mlflow_client import connect
from tests.search.study.test_driver import MadeUp, config

QUIET = Display(console=Console(quiet=True))


def study(runs_dir, *overrides):
    settings = config(runs_dir, "tracking=mlflow", "trials=4", *overrides)
    run_study(settings, MadeUp(slots=1), QUIET)
    return settings


def content(runs_dir):
    """Return of each run of a study what identifies it, its status, its metrics and its tags."""
    client = connect(f"sqlite:///{runs_dir / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("paredown").experiment_id])
    return {
        run.data.tags.get("paredown.trial", "parent"): (
            run.info.status,
            dict(run.data.metrics),
            dict(run.data.params),
            {n: t for n, t in run.data.tags.items() if n not in ("mlflow.parentRunId",)},
        )
        for run in found
    }, len(found)


def test_a_lost_mirror_is_the_same_again_after_one_call_and_after_two(
    runs_dir, database, monkeypatch, capsys
):
    study(runs_dir)
    whole = content(runs_dir)
    assert whole[1] == 5
    (runs_dir / "mlflow.db").write_bytes(database.read_bytes())
    monkeypatch.setattr(sys, "path", list(sys.path))
    for _ in range(2):
        arguments = ["sync", "study=digits", f"runs_dir={runs_dir}"]
        monkeypatch.setattr(sys, "argv", ["paredown", *arguments])
        assert main() == 0
        out, err = capsys.readouterr()
        assert "4 trials are in the tracker, each once\n" in out
        assert err == ""
        assert content(runs_dir) == whole


def test_a_study_that_runs_or_has_no_tracker_is_refused(runs_dir):
    settings = study(runs_dir, "tracking=none")
    with pytest.raises(ConfigError, match="was run with tracking=none and has no mirror"):
        sync(settings, QUIET)
    with driver_lock(settings.folder), pytest.raises(StudyError, match="another process"):
        sync(settings, QUIET)


def test_a_tracker_from_elsewhere_needs_trust(runs_dir):
    settings = study(runs_dir, "tracking=none")
    (settings.folder / "trusted.json").unlink()
    settings.tracking_node["_target_"] = "subprocess.Popen"
    with pytest.raises(ConfigError, match=r"tracking names the code subprocess\.Popen"):
        sync(settings, QUIET)
