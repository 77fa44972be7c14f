"""`paredown search`: a study launched or gone on with, and its front."""

from search.commands.front import show_front
from search.config.study_config import StudyConfig
from search.executors.base import Executor
from search.study.run import run_study
from search.study.terminal import Display


def search(config: StudyConfig, executor: Executor) -> None:
    """Launch a study or go on with it, and show its front."""
    display = Display()
    result = run_study(config, executor, display)
    show_front(display, config, result)
    display.say((result.folder / "summary.txt").read_text())
    volume = max(result.history.values())
    display.say(f"hypervolume {volume:.4f} (1 is the baseline's score at no cost)")
    display.say(f"report      {result.folder / 'report.html'} and front.png")
    display.say(f"tables      {result.folder / 'trials.parquet'} and trials.csv")
    display.say(f"export      paredown export study={config.study} select=knee")
    if result.links:
        display.say(f"MLflow      paredown ui runs_dir={config.runs_dir}, then")
    for what, address in result.links.items():
        display.say(f"  {what:<9} {address}")
