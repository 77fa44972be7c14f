"""Starting jobs on the executor, waiting for them, and repeating those that may yet succeed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from search.executors.base import Executor, Job
from search.executors.outcome import Outcome, left_outcome
from search.report.describe import last_line
from search.study.terminal import Display
from search.trial.messages import Request

_REFRESH_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """Gives requests to the executor; while it waits, the terminal goes on."""

    executor: Executor
    display: Display
    root: Path
    """The study's folder."""
    retries: int
    """How often a job is repeated that failed for a reason which may lie outside it."""
    _repeated: Counter[int] = field(default_factory=Counter, init=False)
    """By key, how often a job under way was repeated."""

    def start(self, key: int, request: Request, folder: Path, subject: str) -> Outcome | None:
        """Start a job, unless its worker outlived an earlier driver and left its result.

        Args:
            key: What the outcome is known by, unique among the jobs under way.
            request: What the job is asked.
            folder: Where the worker writes its log and its outcome.
            subject: What the job is about. The result of another subject, or one that names none,
                is not taken over.

        Returns:
            The outcome that was left; None if the job was started.
        """
        left = left_outcome(folder)
        if left is not None and left.status == "ok" and left.subject == subject:
            return left
        self.restart(key, request, folder, subject)
        return None

    def restart(self, key: int, request: Request, folder: Path, subject: str = "") -> None:
        """Start a job whatever an earlier one left in its folder."""
        del self._repeated[key]
        self.executor.submit(
            Job(
                key=key,
                function=request.job,
                payload=request.to_data(),
                folder=folder,
                root=self.root,
                subject=subject,
            )
        )

    def wait(self, meanwhile: Callable[[], None]) -> list[tuple[int, Outcome]]:
        """Wait until at least one job ends; return the outcomes of all that did, by their keys.

        A job is repeated before its end counts, if its failure may have a reason outside it.

        Args:
            meanwhile: Called again and again until then.
        """
        while not (ended := self._ended()):
            self.display.refresh()
            meanwhile()
        return [(job.key, outcome) for job, outcome in ended]

    def _ended(self) -> list[tuple[Job, Outcome]]:
        """Return the jobs that ended for good; start those again that may yet succeed."""
        final = []
        for job, outcome in self.executor.wait(_REFRESH_SECONDS):
            if not outcome.repeatable or self._repeated[job.key] >= self.retries:
                final.append((job, outcome))
                continue
            self._repeated[job.key] += 1
            what = f"trial {job.key}" if job.key >= 0 else "the preparation"
            again = f"repeated, {self._repeated[job.key]} of {self.retries}"
            self.display.say(f"{what}: {outcome.status}: {last_line(outcome.error)}; {again}")
            self.executor.submit(job)
        return final
