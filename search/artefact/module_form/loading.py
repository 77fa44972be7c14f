"""The module form taken from a folder, checked against the ONNX file beside it."""

from collections.abc import Collection
from pathlib import Path

from torch import nn

from compressors.base import Task
from search.artefact.fidelity import (
    MIN_FIDELITY_DB,
    expected_outputs,
    file_fidelity_db,
    scaled_fidelity_db,
)
from search.artefact.model_files import MODULE_FORM, RUN_FORM
from search.artefact.module_form.file import read_module
from search.errors import ArtefactError

MARGIN_DB = 10.0
"""How far below its fidelity an ONNX file may be: ranges of other data, kernels of other CPUs."""


def load_module(
    folder: Path, task: Task, fidelity_db: float, packages: Collection[str] = ()
) -> nn.Module:
    """Return the compressed model that a folder keeps, which computes what its ONNX file does.

    Args:
        folder: It has the module form, and the ONNX file if both are to be compared.
        task: Gives the modules, and the example on which they are compared.
        fidelity_db: That of the ONNX file against the model when it was written.
        packages: Packages that the recipe's compressors are from.

    Raises:
        ArtefactError: The file is damaged, or the code of the task's model has changed.
    """
    model = read_module(folder / MODULE_FORM, task.baseline, packages)
    if not (folder / RUN_FORM).exists():
        return model
    expected = expected_outputs(model, [task.example])
    found = file_fidelity_db(folder / RUN_FORM, expected, scaled_fidelity_db)
    least = min(fidelity_db, MIN_FIDELITY_DB) - MARGIN_DB
    if found < least:
        raise ArtefactError(
            f"the outputs of {folder / MODULE_FORM} are {found:.0f} dB from those of {RUN_FORM}, "
            f"which must be at least {least:.0f} dB: the code of the task's model has changed since"
        )
    return model
