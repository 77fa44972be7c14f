"""`paredown front`: a study's front as it stands, to read or for a program."""

import sys
from pathlib import Path

from search.config.existing import read_config
from search.config.study_config import StudyConfig
from search.errors import ConfigError, StudyError
from search.pareto.selection import select
from search.report.describe import describe
from search.report.equal_scores import equal_scores
from search.report.result import StudyResult, baseline_of, study_result
from search.report.views.front_rows import front_csv, front_json, front_rows
from search.report.views.front_table import front_table
from search.study.storage.opening import read_study
from search.study.terminal import Display
from search.trial_record import TrialRecord

FORMATS = ("table", "json", "csv")
MIN_WIDTH = 80
"""Columns that the table needs."""


def front(folder: Path, expression: str | None, form: str) -> None:
    """Show the front of a study as it stands; as JSON or CSV there is nothing else on stdout.

    Args:
        folder: The study's folder.
        expression: Selects a trial that is shown and marked too; None for none.
        form: One of `FORMATS`.

    Raises:
        ConfigError: There is no such format, or the expression selects no trial.
        StudyError: The study has no measured baseline yet.
    """
    if form not in FORMATS:
        raise ConfigError(f"format must be one of {', '.join(FORMATS)}, got {form!r}")
    config = read_config(folder)
    result = study_result(config, read_study(config).records())
    selected = None
    if expression is not None:
        weights = config.preferences.weights
        selected = select(result.records, config.objectives, expression, weights)
    if form == "table":
        show_front(Display(), config, result, selected)
        return
    rows = front_rows(config, result, selected)
    text = front_csv(rows) if form == "csv" else f"{front_json(config, result, rows)}\n"
    sys.stdout.write(text)


def show_front(
    display: Display, config: StudyConfig, result: StudyResult, selected: TrialRecord | None = None
) -> None:
    """Print the front, what its marks mean, and the trial that was asked for.

    Raises:
        StudyError: The study has no measured baseline yet.
    """
    baseline = baseline_of(result.records)
    if baseline is None:
        raise StudyError(f"{result.folder} has no measured baseline yet: run the search on")
    equal = equal_scores(config, result.front)
    rows = front_rows(config, result, selected)
    width = max(MIN_WIDTH, display.console.width)
    marked = equal.numbers if equal else ()
    display.console.print(front_table(rows, baseline, marked, width))
    if equal and equal.line:
        display.paragraph(equal.line)
    if selected is not None:
        display.paragraph(f"selected: trial {selected.number}: {describe(selected)}")
