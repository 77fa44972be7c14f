"""The lines of a log that name the phases of a preparation, shown as they are written."""

from collections.abc import Callable
from pathlib import Path

from search.trial.messages import PHASE


class PhaseLines:
    """Shows each line that names a phase once, as soon as it stands in the log."""

    def __init__(self, log: Path, say: Callable[[str], None]) -> None:
        """Leave out what the log of an earlier preparation holds already.

        Args:
            log: The log of the job, which may not exist yet.
            say: Shows a line.
        """
        self._log, self._say = log, say
        self._read = log.stat().st_size if log.exists() else 0

    def show(self) -> None:
        """Show the lines that are new."""
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")
        self._read += len(whole[0]) + len(whole[1])
        for line in whole[0].decode(errors="replace").splitlines():
            if line.startswith(PHASE):
                self._say(line)
