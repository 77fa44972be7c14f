"""A process that is busy starting ends with the one that started it."""

import subprocess
import sys
import uuid

import psutil
import pytest

from tests.processes import MARK, assert_gone, kill

CHILD = """
import time
from search.utils.interruption import ended_with_parent
with ended_with_parent():
    print("busy", flush=True)
    time.sleep(600)
"""
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}])
"""


@pytest.mark.fault("the driver is killed while it starts")
def test_a_busy_process_ends_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"busy\n"
        kill([psutil.Process(parent.pid)])
        monkeypatch.delenv(MARK)
        assert_gone(mark)
