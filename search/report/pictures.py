"""Writing the pictures of a study into its folder: a page to explore, an image for a document."""

from pathlib import Path

from search.config.study_config import StudyConfig
from search.report.panels import FrontPicture
from search.report.result import StudyResult, baseline_of
from search.utils.files import write_atomically


def draw_page(config: StudyConfig, result: StudyResult) -> list[Path]:
    """Write report.html into the study's folder; return its path.

    Nothing is written, and the list is empty, without a measured baseline or without a front.
    """
    picture = _picture(config, result)
    if picture is None:
        return []
    from search.report.page.page import study_page

    path = config.folder / "report.html"
    with write_atomically(path) as file:
        file.write(study_page(config, result, picture).encode())
    return [path]


def draw_image(config: StudyConfig, result: StudyResult) -> list[Path]:
    """Write front.png into the study's folder; return its path.

    Nothing is written, and the list is empty, without a measured baseline or without a front.
    """
    picture = _picture(config, result)
    if picture is None:
        return []
    from search.report.png import write_png  # matplotlib takes a third of a second to import

    path = config.folder / "front.png"
    with write_atomically(path) as file:
        write_png(picture, file)
    return [path]


def _picture(config: StudyConfig, result: StudyResult) -> FrontPicture | None:
    baseline = baseline_of(result.records)
    if baseline is None or not result.front:
        return None
    return FrontPicture(
        records=result.records,
        front_numbers=result.front_numbers,
        objectives=config.objectives,
        baseline=baseline,
    )
