"""What each command does once its configuration is checked."""

from collections.abc import Collection
from pathlib import Path

from search.config.existing import read_config
from search.config.study_config import StudyConfig
from search.errors import StudyError
from search.executors.base import Executor
from search.report.equal_scores import equal_scores
from search.report.front_table import front_table
from search.report.result import StudyResult, baseline_of, draw, study_result
from search.report.summary import write_summary
from search.study.journal_file import JOURNAL
from search.study.run import run_study
from search.study.storage.opening import read_study
from search.study.terminal import Display


def search(config: StudyConfig, executor: Executor) -> None:
    """Launch a study or go on with it, and show its front."""
    display = Display()
    result = run_study(config, executor, display)
    _show_front(display, config, result)
    display.say((result.folder / "summary.txt").read_text())
    volume = max(result.history.values())
    display.say(f"hypervolume {volume:.4f} (1 is the baseline's score at no cost)")
    display.say(f"picture     {result.folder / 'front.html'} and front.png")
    display.say(f"tables      {result.folder / 'trials.parquet'} and trials.csv")
    display.say(f"export      paredown export study={config.study} select=knee")
    if result.links:
        display.say(f"MLflow      paredown ui runs_dir={config.runs_dir}, then")
    for what, address in result.links.items():
        display.say(f"  {what:<9} {address}")


def front(folder: Path) -> None:
    """Show the front of a study as it stands, and draw its pictures again."""
    config = read_config(folder)
    display = Display()
    result = study_result(config, read_study(config).records())
    _show_front(display, config, result)
    display.say(write_summary(config, result).read_text())
    for path in draw(config, result):
        display.say(str(path))


def export(folder: Path, expression: str, output: str | None, trusted: Collection[str]) -> None:
    """Write the selected trial for deployment."""
    from search.deploy.export import export_trial

    done = export_trial(folder, expression, Path(output) if output else None, trusted)
    metrics = done.record.metrics
    display = Display()
    display.say(
        f"trial {done.record.number}: score {metrics['score']:.4f} on validation, "
        f"{done.test['score']:.4f} ± {done.test['score_standard_error']:.4f} on test, "
        f"{metrics['size_bytes']:.0f} bytes packed, latency {metrics['latency_ratio']:.2f}x"
    )
    display.say(f"verified by reloading; written to {done.folder}")


def repair(folder: Path) -> None:
    """Write the journal of a study anew from what is whole, and say what was rescued."""
    from search.study.repair import repair

    found = repair(read_config(folder))
    display = Display()
    display.say(", ".join(f"{count} {what}" for what, count in found.items()))
    display.say(f"written to {folder / JOURNAL}; the same search goes on with it")


def _show_front(display: Display, config: StudyConfig, result: StudyResult) -> None:
    baseline = baseline_of(result.records)
    if baseline is None:
        raise StudyError(f"{result.folder} has no measured baseline yet: run the search on")
    numbers = [record.number for record in result.front]
    equal = equal_scores(config, result.front)
    marked = equal.numbers if equal else ()
    display.console.print(front_table(result.records, numbers, baseline, marked))
    if equal and equal.line:
        display.say(f"{equal.line}\n")
