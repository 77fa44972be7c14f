"""A sweep whose study is in PostgreSQL: its driver and the server may go, and it is finished."""

import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.search.study.storage.postgres_server import PostgresServer
from tests.search.test_cli import MINE, SHORT
from tests.search.test_kills import assert_each_trial_once, assert_gone, launch

TRIALS = 12

pytestmark = pytest.mark.slow  # sweeps, a killed driver and a server that restarts


def finished(address: str, name: str) -> int:
    """Return how many trials have a record; 0 before there is a study."""
    code = (
        "import optuna, sys; optuna.logging.set_verbosity(50)\n"
        "study = optuna.load_study(study_name=sys.argv[2], storage=sys.argv[1])\n"
        "print(sum(trial.state.is_finished() for trial in study.get_trials()))"
    )
    given = [address.replace("postgresql:", "postgresql+psycopg:"), name]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *given], capture_output=True, text=True
    )
    return int(done.stdout or 0)


def until(address: str, name: str, number: int, driver: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 200
    while finished(address, name) < number:
        assert driver.poll() is None, "the driver ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_driver_started_elsewhere_finishes_the_budget(
    server: PostgresServer, user_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "in-a-database"
    monkeypatch.setenv("STUDIES", server.address)
    arguments = ["search", *MINE, *SHORT, f"study={name}", "storage='${oc.env:STUDIES}'"]
    arguments = [*arguments, f"trials={TRIALS}"]
    mark = uuid.uuid4().hex
    first = launch(arguments, user_folder, mark)
    until(server.address, name, 3, first)
    second = launch(arguments, user_folder, uuid.uuid4().hex)
    assert second.wait(120) == 2, "a second live driver is refused"
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert_gone(mark)

    mark = uuid.uuid4().hex
    elsewhere = launch(arguments, user_folder, mark)
    until(server.address, name, 5, elsewhere)
    server.stop()
    time.sleep(2)
    server.start()
    assert elsewhere.wait(280) == 0
    assert_gone(mark)
    assert_each_trial_once(name, user_folder, TRIALS)
    assert not (user_folder / "runs" / name / "journal.log").exists()
