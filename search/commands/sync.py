"""`paredown sync`: the mirror of a study in its tracker made whole."""

from collections.abc import Collection
from pathlib import Path

from search.commands.search import show_links
from search.config.existing import read_config
from search.study.sync import sync as make_whole
from search.study.terminal import Display


def sync(folder: Path, trusted: Collection[str]) -> None:
    """Make the mirror of a study in its tracker whole, and show where it is."""
    display = Display()
    config = read_config(folder)
    result = make_whole(config, display, trusted)
    display.say(f"{len(result.records)} trials are in the tracker, each once")
    show_links(display, config, result)
