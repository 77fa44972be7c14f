"""Jobs on this machine, each in a fresh process with limits on time and memory."""

import multiprocessing
import os
import re
import signal
import time
from dataclasses import dataclass, field
from multiprocessing import connection, forkserver
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, cast

import psutil

from search.errors import ConfigError
from search.executors.base import Job
from search.executors.child_imports import own_imports_only
from search.executors.machine_memory import lacks_memory
from search.executors.outcome import OUTCOME, Outcome, left_outcome
from search.executors.process_tree import (
    kill_tree,
    pause_tree,
    resume_tree,
    tree_memory_mb,
)
from search.executors.watchdog import Watchdog
from search.executors.worker import LOG, main

_MEMORY_PER_WORKER = 2 * 2**30
_POLL_SECONDS = 0.25
_EXIT_SECONDS = 10
MAX_PARALLEL = 1024
"""Most jobs at once, and most threads of one."""
MAX_LOG = 20_000
"""Last characters of a crashed worker's log that its outcome keeps."""
CRASH_LINE = re.compile(
    r"^Current thread .*\(most recent call first\):\n"
    r'  File "(?P<file>[^"\n]+)", line (?P<line>\d+) in (?P<function>.+)$',
    re.MULTILINE,
)
"""The innermost line of Python that the standard module `faulthandler` reports of a crash."""


@dataclass(kw_only=True, eq=False)
class _Running:
    """A job under way."""

    job: Job
    process: BaseProcess
    pipe: connection.Connection
    started: float
    """Unix time in seconds."""
    began: float
    """On the monotonic clock in seconds, which nobody sets; so are the next two."""
    deadline: float
    paused_at: float | None = None
    wants_machine: bool = False
    reported: Outcome | None = None
    """The outcome that the worker could not write."""

    @property
    def pid(self) -> int:
        """Process id of the worker, the root of its tree of processes."""
        return cast(int, self.process.pid)

    def pause(self) -> None:
        """Suspend the process and its children."""
        pause_tree(self.pid)
        self.paused_at = time.monotonic()

    def resume(self) -> None:
        """Resume the process and its children; the pause does not count against the time limit."""
        if self.paused_at is None:
            return
        self.deadline += time.monotonic() - self.paused_at
        self.paused_at = None
        resume_tree(self.pid)

    def stop(self, status: str, reason: str) -> Outcome:
        """Kill the process and its children; return the outcome of a broken limit."""
        kill_tree(self.pid)
        return self.outcome(status, reason)

    def outcome(self, status: str, error: str, *, repeatable: bool = False) -> Outcome:
        """Return an outcome without a result."""
        return Outcome(
            status=status,
            error=error,
            repeatable=repeatable,
            subject=self.job.subject,
            started=self.started,
            finished=self.started + time.monotonic() - self.began,
        )


@dataclass(kw_only=True)
class LocalExecutor:
    """One fresh child process per job; while one job measures latency, the others are paused."""

    workers: int | None = None
    """Jobs at once; None for one per core, limited to one per two gigabytes of free memory."""
    trial_timeout: float | None = None
    """Time limit of one job in seconds without pauses; None for no limit."""
    memory_mb: float | None = None
    """Memory of one job and its child processes in 2**20 bytes; None for no limit but the
    machine's, near which the job with the most memory is ended."""
    ordered: bool = False
    threads: int = 1
    """Torch threads of one job; the rounding of a trial depends on them."""
    _waiting: list[Job] = field(default_factory=list, init=False)
    _running: list[_Running] = field(default_factory=list, init=False)
    _holder: _Running | None = field(default=None, init=False)
    _watchdog: Watchdog | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Check the limits; raise `ConfigError` if one lies outside its range."""
        for name, value in (("trial_timeout", self.trial_timeout), ("memory_mb", self.memory_mb)):
            if value is not None and not value > 0:
                raise ConfigError(f"executor.{name} must be above 0 or null, got {value!r}")
        for name, value in (("workers", self.workers), ("threads", self.threads)):
            if value is not None and not 1 <= value <= MAX_PARALLEL:
                raise ConfigError(
                    f"executor.{name} must be a whole number in [1, {MAX_PARALLEL}], got {value!r}"
                )

    def prepare(self) -> None:
        """Start the server that jobs are forked from, which imports what they need."""
        if _context().get_start_method() == "forkserver":
            with own_imports_only():
                forkserver.ensure_running()

    @property
    def slots(self) -> int:
        """The number of jobs that may run at once."""
        if self.workers is None:
            by_memory = psutil.virtual_memory().available // _MEMORY_PER_WORKER
            self.workers = int(max(1, min(os.cpu_count() or 1, by_memory)))
        return self.workers

    def submit(self, job: Job) -> None:
        """Start a job in a fresh process, as soon as no job holds the machine."""
        self._waiting.append(job)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and self._holder is None:
            self._start(self._waiting.pop(0))

    def _start(self, job: Job) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / OUTCOME).unlink(missing_ok=True)
        ours, theirs = multiprocessing.Pipe()
        arguments = (theirs, job.function, dict(job.payload), str(job.folder), job.subject)
        # Daemons may have no children, and a user's data loader may start some.
        process = cast(Any, _context()).Process(target=main, args=arguments, daemon=False)
        with own_imports_only():
            process.start()
        theirs.close()
        now = time.monotonic()
        limit = float("inf") if self.trial_timeout is None else now + self.trial_timeout
        self._running.append(
            _Running(
                job=job,
                process=process,
                pipe=ours,
                started=time.time(),
                began=now,
                deadline=limit,
            )
        )

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """Return the jobs that ended, maybe none.

        Args:
            seconds: The longest time to wait for the first of them.
        """
        until = time.monotonic() + seconds
        while True:
            self._guard()
            ended = [(r, o) for r in list(self._running) if (o := self._poll(r)) is not None]
            for running, _ in ended:
                self._remove(running)
            if ended:
                return [(running.job, outcome) for running, outcome in ended]
            if lacks_memory() and self._running:
                return [self._relieved()]
            self._start_waiting()
            self._grant_machine()
            left = until - time.monotonic()
            if left <= 0:
                return []
            watched = [r.pipe for r in self._running] + [r.process.sentinel for r in self._running]
            connection.wait(watched, timeout=min(left, _POLL_SECONDS))

    def _relieved(self) -> tuple[Job, Outcome]:
        """End the job with the most memory, so that the others need not; return it.

        It may succeed when it has less company.
        """
        largest = max(self._running, key=lambda running: tree_memory_mb(running.pid))
        reason = f"the machine ran out of memory; this job had {tree_memory_mb(largest.pid):.0f} MB"
        kill_tree(largest.pid)
        outcome = largest.outcome("oom", reason, repeatable=len(self._running) > 1)
        self._remove(largest)
        return largest.job, outcome

    def close(self) -> None:
        """End all running jobs."""
        self._waiting.clear()
        for running in list(self._running):
            kill_tree(running.pid)
            self._remove(running)
        if self._watchdog is not None:
            self._watchdog.close()
            self._watchdog = None

    def _guard(self) -> None:
        """Have all running jobs end with this process, however it ends."""
        if self._watchdog is not None and not self._watchdog.alive:
            self._watchdog.close()
            self._watchdog = None
        if self._watchdog is None:
            self._watchdog = Watchdog(_context())
        self._watchdog.watch([running.pid for running in self._running])

    def _poll(self, running: _Running) -> Outcome | None:
        """Read the messages of a worker, enforce its limits, and return its outcome if it ended."""
        alive = running.process.is_alive()
        if self._read_messages(running) or not alive:
            return _finished(running)
        if running.paused_at is None and time.monotonic() > running.deadline:
            return running.stop("timeout", f"took longer than {self.trial_timeout:g} s")
        if self.memory_mb is not None and tree_memory_mb(running.pid) > self.memory_mb:
            return running.stop("oom", f"used more than {self.memory_mb:g} MB of memory")
        return None

    def _read_messages(self, running: _Running) -> bool:
        """Read the worker's messages; return True if it is done or has closed the pipe."""
        try:
            while running.pipe.poll():
                message = running.pipe.recv()
                if isinstance(message, Outcome):
                    running.reported = message
                    return True
                if message == "done":
                    return True
                if message == "hold":
                    running.wants_machine = True
                if message == "release":
                    self._release_machine()
        except (EOFError, ConnectionResetError):
            return True
        return False

    def _grant_machine(self) -> None:
        """Grant the machine to a worker that waits for it, if no other holds it."""
        waiting = [r for r in self._running if r.wants_machine]
        if self._holder is not None or not waiting:
            return
        self._holder = waiting[0]
        self._holder.wants_machine = False
        for running in self._running:
            if running is not self._holder:
                running.pause()
        try:
            self._holder.pipe.send("granted")
        except (BrokenPipeError, ConnectionResetError):
            self._release_machine()

    def _release_machine(self) -> None:
        self._holder = None
        for running in self._running:
            running.resume()

    def _remove(self, running: _Running) -> None:
        running.process.join(_EXIT_SECONDS)
        # Also of a worker that has ended: its children may run on.
        kill_tree(running.pid)
        running.process.join()
        self._running.remove(running)
        self._guard()
        running.pipe.close()
        running.process.close()
        if running is self._holder:
            self._release_machine()


def _context() -> BaseContext:
    """Return the context that forks processes from a server that has imported torch."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["search.trial.preload"])
    return context


def _finished(running: _Running) -> Outcome:
    """Return the outcome that a worker wrote or reported, or how it ended without one."""
    running.process.join(_EXIT_SECONDS)
    outcome = running.reported or left_outcome(running.job.folder)
    if outcome is not None:
        return outcome
    code = running.process.exitcode
    how = f"exit code {code}"
    if code is not None and code < 0:
        how = f"signal {signal.Signals(-code).name}"
    log = running.job.folder / LOG
    text = log.read_text(errors="replace") if log.exists() else ""
    last = text.rpartition("\nExtension modules: ")[0] or text  # of a crash, with all their names
    last = last[-MAX_LOG:]
    where = CRASH_LINE.search(last)
    place = f" at {where['file']}:{where['line']} in {where['function']}" if where else ""
    error = f"{last}\nthe worker ended with {how}{place}".strip()
    return running.outcome("crashed", error, repeatable=True)
