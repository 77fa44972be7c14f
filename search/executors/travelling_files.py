"""Files of a job on a machine that does not see the study's folder.

The files that a payload names travel to the machine and, where the job changed them, back.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from search.utils.plain_data import map_texts

STAYING = ("prefix_folder",)
"""Keys of payloads whose folder each machine keeps for itself: models between steps."""
Stamp = tuple[int, int]
"""Bytes and time of the last change in nanoseconds."""


def moved(payload: Mapping[str, Any], old: Path, new: Path) -> dict[str, Any]:
    """Return plain data in which paths below one folder lie below another.

    Args:
        payload: Plain data; a text that begins with `old` is such a path.
        old: The folder.
        new: The other one.
    """
    changed: dict[str, Any] = map_texts(payload, lambda text: _moved(text, old, new))
    return changed


def named_paths(payload: Mapping[str, Any], root: Path) -> list[Path]:
    """Return the files and folders below a folder that plain data name, without those that stay."""
    found: dict[Path, None] = {}

    def take(text: str) -> str:
        if _below(text, root):
            found[Path(text)] = None
        return text

    for key, value in payload.items():
        if key not in STAYING:
            map_texts(value, take)
    return list(found)


def stamps(paths: Iterable[Path]) -> dict[Path, Stamp]:
    """Return the stamp of each file among the paths and in their folders."""
    found = {file: file.stat() for file in _files(paths)}
    return {file: (stat.st_size, stat.st_mtime_ns) for file, stat in found.items()}


def pack(files: Iterable[Path], root: Path) -> bytes:
    """Return an archive of files below a folder; a file that is gone meanwhile is left out."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for file in files:
            if file.is_file():
                archive.add(file, arcname=str(file.relative_to(root)), recursive=False)
    return content.getvalue()


def unpack(content: bytes, root: Path) -> None:
    """Write the files of an archive below a folder; existing ones are replaced.

    Raises:
        tarfile.FilterError: An entry would lie outside the folder.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(root, filter="data")


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else [path]
        for file in inside:
            if file.is_file() and file not in seen:
                seen.add(file)
                yield file


def _below(text: str, root: Path) -> bool:
    return text == str(root) or text.startswith(f"{root}/")


def _moved(text: str, old: Path, new: Path) -> str:
    return f"{new}{text.removeprefix(str(old))}" if _below(text, old) else text
