"""The terminal of a running study: a line for each trial and a progress bar."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.status import Status
from rich.text import Text

from search.report.describe import describe, last_line
from search.study.progress.expected_end import clock
from search.trial_record import TrialRecord
from search.utils.secrets import without_secrets

PIPE_COLUMNS = 120
"""Width of tables where the output goes to a file or a pipe."""
ENDS_EVERY = 10
HEADER = (
    f"{'trial':>5}  {'score':>6} {'±':>6}  {'size kB':>8} {'smaller':>7}  {'latency':>7}  "
    f"{'verdict':<22}  recipe"
)


@dataclass(kw_only=True)
class Display:
    """The terminal; output to a file or a pipe has the lines and no progress bar."""

    console: Console = field(default_factory=lambda: _console())
    _progress: Progress | None = None
    _task: TaskID | None = None

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(without_secrets(text), markup=False)

    def paragraph(self, text: str) -> None:
        """Print a text that is broken between words where the terminal ends."""
        self.console.print(Text(without_secrets(text)), soft_wrap=False)

    def status(self, text: str) -> AbstractContextManager[object]:
        """Show a text until the block ends."""
        if self.console.is_terminal:
            return Status(text, console=self.console)
        self.say(text)
        return nullcontext()

    @contextmanager
    def progress(self, *, total: int, done: int) -> Iterator[None]:
        """Print the header of the trials' lines; show the progress bar until the block ends.

        Args:
            total: number of trials that the study shall have.
            done: number of trials that are finished already.
        """
        self.console.print(HEADER, markup=False, style="bold")
        columns = (
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        disable = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=disable) as progress:
            self._progress = progress
            self._task = progress.add_task("", total=total, completed=done)
            yield
        self._progress = self._task = None

    def refresh(self) -> None:
        """Update the clock of the progress bar."""
        if self._progress is not None:
            self._progress.refresh()

    def trial(
        self, record: TrialRecord, baseline: Mapping[str, float], seconds: float | None = None
    ) -> None:
        """Print the line of a finished trial and advance the progress bar.

        Output without a progress bar says after every tenth trial when the study ends.

        Args:
            record: the finished trial.
            baseline: metrics of the baseline.
            seconds: until the study is expected to end; None if that is not known.
        """
        self.say(trial_line(record, baseline))
        if self._progress is None or self._task is None:
            return
        self._progress.advance(self._task)
        ends = "" if seconds is None else f"ends about {clock(seconds)}"
        self._progress.update(self._task, description=ends)
        task = self._progress.tasks[0]
        due = task.completed % ENDS_EVERY == 0 and not task.finished
        if self._progress.disable and ends and due:
            self.say(f"{task.completed:g} of {task.total:g} trials; {ends}")


def trial_line(record: TrialRecord, baseline: Mapping[str, float]) -> str:
    """Return the metrics of a trial in the columns of `HEADER`, or why it has none."""
    if record.status != "ok":
        reason = f"{record.status}: {last_line(record.error)}"
        return f"{record.number:>5}  {reason[:60]:<60}  {describe(record)}"
    metrics = record.metrics
    smaller = f"{baseline['run_bytes'] / metrics['size_bytes']:.1f}x"
    verdict = record.verdict if record.feasible else "breaks a constraint"
    return (
        f"{record.number:>5}  {metrics['score']:>6.4f} {metrics['score_standard_error']:>6.4f}  "
        f"{metrics['size_bytes'] / 1000:>8.1f} {smaller:>7}  {metrics['latency_ratio']:>6.2f}x  "
        f"{verdict:<22}  {describe(record)}"
    )


def _console() -> Console:
    """Return a console as wide as the terminal, or wide enough for tables where there is none."""
    terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, soft_wrap=True, width=None if terminal else PIPE_COLUMNS)
