"""Writing the pictures of a front: a page to explore and an image for a document."""

from pathlib import Path

from search.report.html import write_html
from search.report.panels import FrontPicture
from search.report.png import write_png
from search.utils.files import replaced_when_written


def write_pictures(picture: FrontPicture, folder: Path) -> list[Path]:
    """Write front.html and front.png, each replaced in one step; return their paths."""
    page, image = folder / "front.html", folder / "front.png"
    with replaced_when_written(page) as part:
        write_html(picture, part)
    with replaced_when_written(image) as part:
        write_png(picture, part)
    return [page, image]
