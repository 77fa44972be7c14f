"""The UI names what it lacks, and links open what the experiment keeps."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

import pytest

from search.errors import ConfigError
from search.tracking.mlflow_database import default_uri
from search.tracking.mlflow_links import links_of_studies
from search.tracking.ui import serve
from tests.search.tracking.small_study import HISTORY, RECORDS, children, free_port, opened, written


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
