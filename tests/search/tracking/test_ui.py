"""The UI names what it lacks, and links open what the experiment keeps."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import psutil
import pytest

from search.errors import ConfigError
from search.tracking import ending_with_parent
from search.tracking.mlflow_database import default_uri
from search.tracking.mlflow_links import links_of_studies
from search.tracking.ui import serve
from tests.search.tracking.small_study import HISTORY, RECORDS, children, free_port, opened, written

ROOT = Path(__file__).parents[3]
GONE_AFTER = 5.0
"""Seconds after which nothing of a server may be left."""


def test_links_open_the_views_that_the_experiment_keeps(runs_dir):
    mirror = opened(runs_dir)
    assert "compare" not in mirror.links()
    written(mirror, RECORDS, [1, 3], HISTORY)
    links = mirror.links("http://127.0.0.1:7777/")
    assert set(links) == {"trials", "charts", "front", "study", "compare"}
    tags = mirror.study.client.get_experiment(mirror.study.experiment_id).tags
    for name in ("trials", "charts", "front"):
        address = links[name]
        assert address.startswith(
            f"http://127.0.0.1:7777/#/experiments/{mirror.study.experiment_id}/"
        )
        query = urllib.parse.parse_qs(address.partition("?")[2])
        assert query["workflowType"] == ["machine_learning"]
        view = json.loads(tags["mlflow.sharedViewState." + query["viewStateShareKey"][0]])
        found = mirror.study.client.search_runs([mirror.study.experiment_id], view["searchFilter"])
        assert len(found) == (2 if name == "front" else 5)
    query = urllib.parse.parse_qs(links["compare"].partition("?")[2])
    members = [children(mirror)[number].info.run_id for number in (1, 3)]
    assert json.loads(query["runs"][0]) == members


def test_ui_names_the_missing_database_and_the_taken_port(runs_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"mlflow\.db does not exist: run `paredown search`"):
        serve(tmp_path / "nowhere")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} .*set another with port="):
            serve(runs_dir, port=port)


@pytest.mark.fault("`paredown ui` is killed")
@pytest.mark.slow  # a real server each time
@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_ui_prints_links_serves_and_ends_with_its_server(end, runs_dir):
    written(opened(runs_dir), RECORDS, [1, 3], HISTORY)
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "search.cli", "ui", f"runs_dir={runs_dir}", f"port={port}"],
        cwd=runs_dir,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=with_default_signals,
    ) as ui:
        lines = []
        for line in ui.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        address = f"http://127.0.0.1:{port}"
        assert any("compare" in line and address in line for line in lines)
        server = [child.pid for child in psutil.Process(ui.pid).children(recursive=True)]
        assert server
        ui.send_signal(getattr(signal, end))
        rest, errors = ui.communicate(timeout=60)
    killed = end == "SIGKILL"
    expected = ("", -signal.SIGKILL) if killed else ("MLflow stopped\n", 0)
    assert (rest, ui.returncode) == expected
    assert errors == ""
    assert_gone(server)


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1] == "parent":
    child = subprocess.Popen([sys.executable, "-c", sys.argv[2], "child", ""])
    print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow  # processes that must be killed after their grace
@pytest.mark.parametrize("end", ["the input ends", "the guard is asked to end"])
def test_a_command_ends_with_its_parent_and_takes_its_own_children_with_it(end):
    guard = [sys.executable, "-m", ending_with_parent.__name__]
    with subprocess.Popen(
        [*guard, sys.executable, "-c", STUBBORN, "parent", STUBBORN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        started = [int(pid) for pid in process.stdout.readline().split()]
        assert all(map(psutil.pid_exists, started))
        if end == "the input ends":
            process.stdin.close()
        else:
            process.terminate()
        process.wait(60)
    assert_gone(started)


def test_the_exit_code_of_a_command_is_passed_on():
    guard = [sys.executable, "-m", ending_with_parent.__name__]
    command = [*guard, sys.executable, "-c", "import sys; sys.exit(7)"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        assert process.wait(60) == 7


def with_default_signals():
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def assert_gone(pids):
    deadline = time.monotonic() + GONE_AFTER
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_studies_are_linked_by_name_the_newest_first(runs_dir):
    first, second = opened(runs_dir), opened(runs_dir, name="other")
    written(second, RECORDS, [1, 3], HISTORY)
    base = "http://127.0.0.1:7777"
    (newest, newest_links), (oldest, oldest_links) = links_of_studies(default_uri(runs_dir), base)
    assert (newest, oldest) == ("other", "digits")
    assert oldest_links == first.links(base)
    expected = second.links(base)
    compared = [
        set(json.loads(urllib.parse.parse_qs(links.pop("compare").partition("?")[2])["runs"][0]))
        for links in (newest_links, expected)
    ]
    assert compared[0] == compared[1]
    assert newest_links == expected
