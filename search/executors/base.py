"""What an executor does: it takes plain-data jobs and gives back how each one ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from search.executors.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call of one function with plain data, in a process of its own."""

    key: int
    function: str
    """`module:function`; it takes the payload and a context manager that holds the machine."""
    payload: Mapping[str, Any]
    folder: Path
    """Where the process writes its outcome and its log."""


class Executor(Protocol):
    """Runs jobs, each isolated from the driver and from the others."""

    threads: int
    """Threads that torch computes with in one job."""
    ordered: bool
    """Whether the driver waits, before it asks for trial k, until trial k - slots has ended."""

    def prepare(self) -> None:
        """Get ready in the background, before the first job."""
        ...

    @property
    def slots(self) -> int:
        """How many jobs may run at once."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job; the caller never has more jobs under way than there are slots."""
        ...

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """Return the jobs that ended, after at most some seconds; maybe none."""
        ...

    def close(self) -> None:
        """End every job that still runs."""
        ...
