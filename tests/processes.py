"""Processes that tests start by the hundred and kill: found by a mark in their environment."""

import signal
import time

import psutil

MARK = "PAREDOWN_KILL_TEST"
"""Variable of the environment whose value all processes of one launch have."""
GONE_AFTER = 5.0
"""Seconds after which no process of a killed launch may be left."""


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes of a launch, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def kill(processes: list[psutil.Process]) -> None:
    """Send SIGKILL to one after the other."""
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def assert_gone(mark: str) -> None:
    until = time.monotonic() + GONE_AFTER
    while left := marked(mark):
        assert time.monotonic() < until, [(p.pid, p.status(), p.cmdline()) for p in left]
        time.sleep(0.1)
