"""Nothing outlives a killed driver, whichever of its processes are killed with it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from tests.faults import FAMILY
from tests.processes import MARK, assert_gone, kill, marked

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX's"),
    pytest.mark.slow,  # families of processes that come up
]

DRIVER = """
import json
import os
import sys
from multiprocessing import forkserver
from pathlib import Path
from search.executors.base import Job
from search.executors.local import LocalExecutor

folder = Path(sys.argv[1])
executor = LocalExecutor(workers=3)
for key, name in enumerate(("reads_for_ever", "hang", "holds_for_ever")):
    payload = {"folder": sys.argv[1]}
    name, there = f"tests.faults:{name}", folder / str(key)
    executor.submit(Job(key=key, function=name, payload=payload, folder=there, root=folder))
executor.wait(0)
reader, hanging, holder = (running.pid for running in executor._running)
found = {
    "driver": os.getpid(),
    "reader": reader,
    "hanging": hanging,
    "holder": holder,
    "watchdog": executor._watchdog._process.pid,
    "server": forkserver._forkserver._forkserver_pid,
}
print(json.dumps(found), flush=True)
executor.wait(600)
"""


def ignore_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.fault("the driver is killed while latency is measured")
@pytest.mark.parametrize(
    ("killed", "nohup"),
    [
        ("driver holder", False),
        ("driver holder watchdog", True),
        ("driver holder reader", True),
    ],
)
def test_paused_jobs_and_their_children_end_too(killed: str, nohup: bool, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), MARK: mark}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, tmp_path],
        env=environment,
        stdout=subprocess.PIPE,
        preexec_fn=ignore_hangup if nohup else None,
    ) as driver:
        assert driver.stdout is not None
        found = json.loads(driver.stdout.readline())
        try:
            until = time.monotonic() + 60
            while not (tmp_path / "held").exists():
                assert time.monotonic() < until
                time.sleep(0.05)
            assert len(marked(mark)) >= FAMILY + 5
            paused = psutil.Process(found["reader"])
            assert paused.status() == psutil.STATUS_STOPPED
            victims = [psutil.Process(found[name]) for name in killed.split()]
            kill(random.Random(killed).sample(victims, len(victims)))
            assert_gone(mark)
        finally:
            kill(marked(mark))
