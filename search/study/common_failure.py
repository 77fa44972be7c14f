"""The end of a study in which one trial after the other fails for the same reason."""

from dataclasses import dataclass, field

from search.errors import StudyError
from search.report.describe import last_line
from search.trial_record import TrialRecord

MANY = 6
"""Trials in a row that fail alike before a study ends: the fault is then in none of them."""
FAILED = ("error", "crashed", "oom", "timeout")
"""Statuses of trials that failed; the others say something about their recipe."""


@dataclass(kw_only=True)
class CommonFailure:
    """The reason that the latest trials of a launch have in common."""

    _reason: str = ""
    _numbers: list[int] = field(default_factory=list)

    def add(self, record: TrialRecord) -> None:
        """Take note of how a trial ended.

        Raises:
            StudyError: The last `MANY` trials failed for the same reason.
        """
        reason = f"{record.status}: {last_line(record.error)}" if record.status in FAILED else ""
        if reason != self._reason:
            self._reason, self._numbers = reason, []
        self._numbers.append(record.number)
        if reason and len(self._numbers) >= MANY:
            raise StudyError(
                f"{MANY} trials in a row failed alike, the last ones "
                f"{', '.join(map(str, self._numbers[-3:]))}: {reason}; mend that, then the same "
                "command goes on"
            )
