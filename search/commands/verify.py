"""`paredown verify`: an export measured again on this machine."""

from collections.abc import Collection
from pathlib import Path

from search.deploy.verified import verify_export
from search.errors import StudyError
from search.study.terminal import Display


def verify(folder: Path, rounds: int, trusted: Collection[str]) -> None:
    """Compare an export with its evidence on this machine, and say what differs.

    Raises:
        StudyError: Anything differs; all of it is in the file of this machine too.
    """
    done = verify_export(folder, rounds, trusted)
    display = Display()
    for line in done.lines():
        display.say(line)
    if done.differences:
        raise StudyError(f"{'; '.join(done.differences)}; written to {done.path}")
    display.say(f"as exported; written to {done.path}")
