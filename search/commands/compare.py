"""`paredown compare`: two trials or two studies side by side."""

from pathlib import Path

from search.config.existing import existing_study, read_config
from search.config.study_config import StudyConfig
from search.errors import ConfigError
from search.pareto.selection import select
from search.report.describe import describe
from search.report.result import StudyResult, study_result
from search.report.views.comparison import compare_studies, compare_trials
from search.report.views.comparison_table import comparison_table
from search.study.storage.opening import read_study
from search.study.terminal import Display
from search.trial_record import TrialRecord

USAGE = (
    "compare needs two sides: paredown compare 11 knee study=digits, paredown compare "
    "digits:11 other:knee, or two studies, paredown compare digits other"
)

MEANING = (
    "difference: the second less the first, in percent of it but for scores; noise: two standard "
    "errors of the difference, paired where both were scored on the same samples"
)


def compare(first: str | None, second: str | None, study: str | None, runs_dir: Path) -> None:
    """Print what differs between two trials or two studies, and whether beyond the noise.

    Args:
        first: With `study` an expression that selects a trial; otherwise `STUDY:EXPRESSION`, or
            the name of a study.
        second: The same of the other side.
        study: The study that both trials are from; None where the sides name theirs.
        runs_dir: The folder of all studies.

    Raises:
        ConfigError: A side is missing, one is a trial and the other a study, or there is no such
            study or trial.
    """
    if first is None or second is None:
        raise ConfigError(USAGE)
    named = [(study, side) if study is not None else _parts(side) for side in (first, second)]
    found = [_read(existing_study({"runs_dir": runs_dir, "study": name})) for name, _ in named]
    display = Display()
    ours, theirs = found
    if not named[0][1] and not named[1][1]:
        names = [config.study for config, _ in found]
        display.console.print(comparison_table(compare_studies(ours, theirs), *names))
        if ours[0].objectives != theirs[0].objectives:
            display.paragraph("their objectives differ: the hypervolumes do not compare")
        return
    if not all(expression for _, expression in named):
        raise ConfigError(f"one side is a trial, the other a study; {USAGE}")
    left, right = (_trial(*one, side[1]) for one, side in zip(found, named, strict=True))
    titles = [
        f"trial {record.number}" if study is not None else f"{config.study}:{record.number}"
        for config, record in (left, right)
    ]
    display.console.print(comparison_table(compare_trials(left, right), *titles))
    display.paragraph(MEANING)
    for title, (_, record) in zip(titles, (left, right), strict=True):
        display.paragraph(f"{title}: {describe(record)}")


def _parts(side: str) -> tuple[str, str]:
    name, _, expression = side.partition(":")
    return name.strip(), expression.strip()


def _read(folder: Path) -> tuple[StudyConfig, StudyResult]:
    config = read_config(folder)
    return config, study_result(config, read_study(config).records())


def _trial(
    config: StudyConfig, result: StudyResult, expression: str
) -> tuple[StudyConfig, TrialRecord]:
    weights = config.preferences.weights
    return config, select(result.records, config.objectives, expression, weights)
