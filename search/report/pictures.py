"""Writing the pictures of a front: a page to explore and an image for a document."""

from pathlib import Path

from search.report.html import write_html
from search.report.panels import FrontPicture
from search.report.png import write_png


def write_pictures(picture: FrontPicture, folder: Path) -> list[Path]:
    """Write front.html and front.png, each replaced in one step; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, write in (("front.html", write_html), ("front.png", write_png)):
        path, draft = folder / name, folder / f".part-{name}"
        write(picture, draft)
        draft.replace(path)
        paths.append(path)
    return paths
