"""The names of a model's files in its folder."""

from collections.abc import Iterator
from pathlib import Path

from search.artefact.packed_form.unpack import DATA_FILE

RUN_FORM = "model.onnx"
SHIP_FORM = "model.packed"
MODULE_FORM = "model.safetensors"
MODEL_FILES = (RUN_FORM, DATA_FILE, SHIP_FORM, MODULE_FORM)
"""All files of a model. The data file is there only for a model that is too large for one file, the
module form only where the modules can be described."""


def run_bytes(path: Path) -> int:
    """Return the bytes of an ONNX file and of the file that holds its weights."""
    return sum(file.stat().st_size for file in run_files(path))


def run_files(path: Path) -> Iterator[Path]:
    """Yield an ONNX file and, if it has one, the file beside it that holds its weights."""
    yield path
    beside = path.with_name(DATA_FILE)
    if beside.exists():
        yield beside
