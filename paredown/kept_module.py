"""The compressed module that a folder of a trial or an export keeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from search.artefact.module_form.loading import load_module
from search.errors import ArtefactError, StudyError
from search.tasks.task import EvaluatedTask
from search.utils.trust import targets_of


def kept_module(
    folder: Path, task: EvaluatedTask, recipe: Mapping[str, Any], fidelity_db: float
) -> nn.Module:
    """Return the module that a folder keeps, checked against the ONNX file there.

    Args:
        folder: The folder of a trial or an export.
        task: The task as it is now.
        recipe: Plain data of the recipe, whose compressors are trusted.
        fidelity_db: That of the ONNX file when it was written.

    Raises:
        StudyError: The file is damaged, or the modules of the task are not those of then.
    """
    packages = {target.partition(".")[0] for target in targets_of(recipe)}
    try:
        return load_module(folder, task, fidelity_db, packages)
    except ArtefactError as error:
        raise StudyError(
            f"{error}; build the task as it was, or take model.onnx, which needs none of its code"
        ) from error
