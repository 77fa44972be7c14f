"""The process of one job: it runs one function, writes the outcome, and ends with its driver."""

import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from compressors.errors import InfeasibleError
from search.errors import ConfigError
from search.executors.child_imports import (
    let_server_end,
    restore_environment,
    use_own_start_method,
)
from search.executors.outcome import Outcome, write_outcome
from search.executors.process_tree import kill_tree, lead_tree
from search.executors.resources import lacking_status
from search.utils.failure_cause import failure_cause
from search.utils.secrets import hide_secrets

LOG = "log.txt"


class Lifeline:
    """The worker's end of the pipe to its driver; the process ends when the driver does."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._granted = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self._pipe.recv()
            except (EOFError, OSError):  # the driver is gone
                kill_tree(os.getpid())
                os._exit(1)
            self._granted.set()

    @contextmanager
    def hold_machine(self) -> Iterator[None]:
        """Hold the machine: the driver pauses all other workers until the block ends."""
        self._pipe.send("hold")
        self._granted.wait()
        self._granted.clear()
        try:
            yield
        finally:
            self._pipe.send("release")

    def done(self) -> None:
        """Report to the driver that the outcome is written."""
        self._pipe.send("done")

    def report(self, outcome: Outcome) -> None:
        """Give the driver an outcome that cannot be written."""
        self._pipe.send(outcome)


def main(
    pipe: Connection, function: str, payload: Mapping[str, Any], folder: str, subject: str
) -> None:
    """Run a job, as the target of a fresh process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lead_tree()
    let_server_end()
    restore_environment()
    use_own_start_method()
    where = Path(folder)
    lifeline = Lifeline(pipe)
    started, began = time.time(), time.monotonic()  # a clock may be set meanwhile

    def outcome(fields: Mapping[str, Any]) -> Outcome:
        finished = started + time.monotonic() - began
        return Outcome(**fields, subject=subject, started=started, finished=finished)

    try:
        _write_output_to(where / LOG)
        ended = outcome(_call(function, payload, lifeline))
        print(ended.error, file=sys.stderr, flush=True)
        hide_secrets(where / LOG)
        write_outcome(ended, where)
    except OSError as error:  # the job's folder is full or gone, whatever came of the job
        unwritten = {**_failure(error), "status": "environment", "repeatable": True}
        lifeline.report(outcome(unwritten))
    else:
        lifeline.done()


def _call(function: str, payload: Mapping[str, Any], lifeline: Lifeline) -> dict[str, Any]:
    """Run the function; return the fields of the outcome beside its times."""
    try:
        module, _, name = function.partition(":")
        result = getattr(importlib.import_module(module), name)(payload, lifeline.hold_machine)
        return {"status": "ok", "result": json.loads(json.dumps(result))}
    except InfeasibleError as reason:
        return {"status": "infeasible", "error": str(reason)}
    except ConfigError as reason:
        return {"status": "config_error", "error": str(reason)}
    except BaseException as error:  # noqa: BLE001 - any end of a trial, sys.exit too, is its outcome
        return _failure(error)


def _failure(error: BaseException) -> dict[str, Any]:
    """Return the fields of the outcome of a job that failed, beside its times."""
    lacking = lacking_status(error)
    return {
        "status": lacking or "error",
        "repeatable": lacking is not None,
        "error": traceback.format_exc(),
        "cause": failure_cause(error),
    }


def _write_output_to(path: Path) -> None:
    """Redirect the output of Python and of native code to a file, with a trace of crashes."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable()
