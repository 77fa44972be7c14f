"""What an executor does: it runs plain-data jobs and returns how each one ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from search.executors.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call of one function with plain data, in its own process."""

    key: int
    function: str
    """`module:function`; it takes the payload and a context manager that holds the machine."""
    payload: Mapping[str, Any]
    folder: Path
    """Where the process writes its outcome and its log."""
    root: Path
    """The study's folder, in which all paths of the payload and `folder` lie."""
    subject: str = ""
    """What the job is about, kept in its outcome: for a trial the hash of its recipe."""


@runtime_checkable
class Executor(Protocol):
    """Runs jobs, each isolated from the driver and from the others."""

    threads: int
    """Torch threads of one job."""
    ordered: bool
    """Whether the driver waits, before it asks for trial k, until trial k - slots has ended."""

    def prepare(self) -> None:
        """Start what the first job needs, in the background."""
        ...

    @property
    def slots(self) -> int:
        """The number of jobs that may run at once."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job; the caller never submits more jobs than there are slots."""
        ...

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """Return the jobs that ended, maybe none.

        Args:
            seconds: The longest time to wait for the first of them.
        """
        ...

    def close(self) -> None:
        """End all running jobs."""
        ...
