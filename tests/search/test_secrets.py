"""A password, a variable and a token are in nothing that a sweep and an export leave behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from search.tracking.mlflow_server import Address, running_server

ROOT = Path(__file__).parents[2]
PASSWORD, VARIABLE, TOKEN = "sentinel-in-uri", "sentinel-in-variable", "sentinel-in-header"
SECRETS = [secret.encode() for secret in (PASSWORD, VARIABLE, TOKEN)]

MODEL = """
import multiprocessing
import os
from user_model import Task as Base

class Task(Base):
    def __init__(self, key):
        self.key, self.calls = key, 0
        super().__init__()
        if multiprocessing.parent_process() is not None:
            print("my key is", key)

    def loss(self, outputs, targets):
        self.calls += 1
        worker = multiprocessing.parent_process() is not None
        if worker and self.calls > 64 and os.path.exists("runs/mine/trials/0005"):
            token = os.environ["MLFLOW_TRACKING_TOKEN"]
            raise RuntimeError(f"the service refuses {self.key} of {token}")
        return super().loss(outputs, targets)
"""


def paredown(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "MY_KEY": VARIABLE,
        "MLFLOW_TRACKING_TOKEN": TOKEN,
        "COLUMNS": "300",
    }
    return subprocess.run(
        [sys.executable, "-m", "search.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow  # a sweep beside a server, and an export
def test_secrets_are_found_nowhere(user_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret_model.py").write_text(MODEL)
    (tmp_path / "user_model.py").write_text((user_folder / "user_model.py").read_text())
    (tmp_path / "my_conf" / "task").mkdir(parents=True)
    task = "_target_: secret_model.Task\nkey: ${oc.env:MY_KEY}\nrecovery_epochs: 1\n"
    (tmp_path / "my_conf" / "task" / "mine.yaml").write_text(task)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = Address(host="127.0.0.1", port=port)
    mine = ["--config-dir", "my_conf", "task=mine", "executor.workers=2", "latency.rounds=4"]
    uri = f"tracking.uri=http://me:{PASSWORD}@127.0.0.1:{port}"
    with running_server(tmp_path / "server", address):
        searched = paredown(tmp_path, "search", *mine, "trials=8", uri)
        wrong = paredown(tmp_path, "search", *mine, "trials=8", f"{uri}0")
    exported = paredown(tmp_path, "export", "study=mine", "select=max score")
    assert searched.returncode == 0, searched.stderr
    assert b"cannot be reached" in wrong.stderr or b"port" in wrong.stderr.lower()
    assert exported.returncode == 0, exported.stderr
    assert list((tmp_path / "server" / "mlartifacts").rglob("recipe.yaml"))
    assert not (Path.cwd() / "mlartifacts").exists()
    said = b"".join(done.stdout + done.stderr for done in (searched, wrong, exported))
    shown = [line for line in said.splitlines() if any(secret in line for secret in SECRETS)]
    assert shown == []
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    found = [(path, s) for path in left for s in SECRETS if s in path.read_bytes()]
    assert [pair for pair in found if pair[0].suffix != ".pyc"] == []
    logs = [path.read_text() for path in left if path.name == "log.txt"]
    assert any("my key is ***" in log for log in logs)
    assert any("the service refuses *** of ***" in log for log in logs), "it was provoked"
