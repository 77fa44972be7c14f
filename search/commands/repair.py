"""`paredown repair`: a damaged journal written anew from what is whole."""

from pathlib import Path

from search.config.existing import read_config
from search.study.journal_file import JOURNAL
from search.study.repair import repair as repair_study
from search.study.terminal import Display


def repair(folder: Path) -> None:
    """Write the journal of a study anew, and say what was rescued."""
    found = repair_study(read_config(folder))
    display = Display()
    display.say(", ".join(f"{count} {what}" for what, count in found.items()))
    display.say(f"written to {folder / JOURNAL}; the same search goes on with it")
