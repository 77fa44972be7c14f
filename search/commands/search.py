"""`paredown search`: a study launched or gone on with, and its front."""

from search.commands.afterwards import ask, asks
from search.commands.front import show_front
from search.config.existing import read_config
from search.config.study_config import StudyConfig
from search.executors.base import Executor
from search.report.result import StudyResult
from search.study.builders import build_executor
from search.study.run import run_study
from search.study.terminal import Display


def search(config: StudyConfig, executor: Executor, *, alone: bool = True) -> None:
    """Launch a study or go on with it, and show its front.

    Args:
        config: The study's configuration.
        executor: Runs the trials; it is closed afterwards.
        alone: Whether no other study follows, so that somebody at a terminal is asked what next.
    """
    display = Display()
    _show(display, run_study(config, executor, display))
    while alone and asks(display):
        larger = ask(display, config)
        if larger is None:
            return
        config = larger
        _show(display, run_study(config, build_executor(config), display))


def _show(display: Display, result: StudyResult) -> None:
    """Show what a study found and where it is written."""
    config = read_config(result.folder)  # in which the task has said which way the score goes
    show_front(display, config, result)
    display.say((result.folder / "summary.txt").read_text())
    volume = max(result.history.values())
    display.say(f"hypervolume {volume:.4f} (1 is the baseline's score at no cost)")
    display.say(f"report      {result.folder / 'report.html'} and front.png")
    display.say(f"tables      {result.folder / 'trials.parquet'} and trials.csv")
    display.say(f"export      paredown export study={config.study} select=knee")
    show_links(display, config, result)


def show_links(display: Display, config: StudyConfig, result: StudyResult) -> None:
    """Show where a study is in MLflow, if it is there."""
    if result.links:
        display.say(f"MLflow      paredown ui runs_dir={config.runs_dir}, then")
    for what, address in result.links.items():
        display.say(f"  {what:<9} {address}")
