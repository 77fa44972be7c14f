"""`paredown report`: a study as one page that needs no network."""

from pathlib import Path

from search.config.existing import read_config
from search.errors import StudyError
from search.report.pictures import draw_page
from search.report.result import study_result
from search.study.storage.opening import read_study
from search.study.terminal import Display


def report(folder: Path) -> None:
    """Write report.html of a study as it stands, and print its path.

    Raises:
        StudyError: The study has no measured baseline or no feasible trial yet.
    """
    config = read_config(folder)
    result = study_result(config, read_study(config).records())
    written = draw_page(config, result)
    if not written:
        raise StudyError(f"{folder} has no measured baseline or no front yet: run the search on")
    Display().say(str(written[0]))
