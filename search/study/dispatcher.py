"""Starting jobs on the executor and waiting for them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search.executors.base import Executor, Job
from search.executors.outcome import Outcome, has_outcome, read_outcome
from search.study.outputs import StudyOutputs
from search.study.terminal import Display
from search.trial.messages import Request

_REFRESH_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """Gives requests to the executor; while it waits, the terminal and the tracker go on."""

    executor: Executor
    display: Display
    outputs: StudyOutputs

    def start(self, key: int, request: Request, folder: Path) -> Outcome | None:
        """Start a job, unless its worker outlived an earlier driver and left its outcome.

        Args:
            key: What the outcome is known by, unique among the jobs under way.
            request: What the job is asked.
            folder: Where the worker writes its log and its outcome.

        Returns:
            The outcome that was left; None if the job was started.
        """
        if has_outcome(folder):
            return read_outcome(folder)
        self.restart(key, request, folder)
        return None

    def restart(self, key: int, request: Request, folder: Path) -> None:
        """Start a job whatever an earlier one left in its folder."""
        payload = request.to_data()
        self.executor.submit(Job(key=key, function=request.job, payload=payload, folder=folder))

    def wait(self, meanwhile: Callable[[], None] | None = None) -> list[tuple[int, Outcome]]:
        """Wait until at least one job ends; return the outcomes of all that did, by their keys.

        Args:
            meanwhile: Called again and again until then.
        """
        while not (ended := self.executor.wait(_REFRESH_SECONDS)):
            self.display.refresh()
            if meanwhile is not None:
                meanwhile()
            self.outputs.write_to_tracker()
        return [(job.key, outcome) for job, outcome in ended]
