"""All files of a model move together: the ONNX file, its data if there are any, the packed one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from search.artefact.model_files import MODEL_FILES, run_bytes
from search.deploy.export import _place_artefact
from search.study.outputs import delete_model

WHOLE, LARGE = ("model.onnx", "model.packed"), MODEL_FILES


@pytest.mark.parametrize("kept", [WHOLE, LARGE])
@pytest.mark.parametrize("before", [(), WHOLE, LARGE])
def test_an_export_has_the_files_of_its_model_and_no_others(
    kept: tuple[str, ...], before: tuple[str, ...], tmp_path: Path
) -> None:
    trial, target = tmp_path / "trial", tmp_path / "target"
    for folder, names in ((trial, kept), (target, before)):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(f"{name} in {folder.name}".encode())
    config = SimpleNamespace(trial_folder=lambda number: trial)
    selected = SimpleNamespace(config=config, record=SimpleNamespace(number=7))
    _place_artefact(cast(Any, selected), cast(Any, None), target)
    assert {path.name for path in target.iterdir()} == set(kept)
    assert all((target / name).read_bytes() == (trial / name).read_bytes() for name in kept)
    sizes = {
        name: (target / name).stat().st_size
        for name in kept
        if name in ("model.onnx", "model.onnx.data")
    }
    assert run_bytes(target / "model.onnx") == sum(sizes.values())
    delete_model(trial)
    assert not list(trial.iterdir())
