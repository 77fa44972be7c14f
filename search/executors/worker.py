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
from search.executors.child_imports import restore_environment, use_own_start_method
from search.executors.outcome import Outcome, write_outcome
from search.executors.process_tree import kill_tree, lead_tree, resume_tree
from search.executors.resources import lacks_resources
from search.utils.failure_cause import failure_cause
from search.utils.secrets import hide_secrets

LOG = "log.txt"


class Lifeline:
    """The worker's end of the pipe to its driver; the process ends when the driver does."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._granted = threading.Event()
        self._paused: list[int] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self._paused = self._pipe.recv()
            except (EOFError, OSError):
                # The driver is gone. Jobs that it paused for this worker must notice that too.
                for pid in self._paused:
                    resume_tree(pid)
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


def main(
    pipe: Connection, function: str, payload: Mapping[str, Any], folder: str, subject: str
) -> None:
    """Run a job, as the target of a fresh process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lead_tree()
    restore_environment()
    use_own_start_method()
    where = Path(folder)
    _write_output_to(where / LOG)
    lifeline = Lifeline(pipe)
    started, began = time.time(), time.monotonic()  # a clock may be set meanwhile
    ended = _call(function, payload, lifeline)
    finished = started + time.monotonic() - began
    outcome = Outcome(**ended, subject=subject, started=started, finished=finished)
    print(outcome.error, file=sys.stderr, flush=True)
    hide_secrets(where / LOG)
    write_outcome(outcome, where)
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
    except MemoryError:
        return {"status": "oom", "error": traceback.format_exc(), "repeatable": True}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any failure of a trial is its outcome, kept with its traceback
        status = "environment" if lacks_resources(error) else "error"
        return {
            "status": status,
            "repeatable": status == "environment",
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
