"""What an export holds, that it works without Paredown, and what verifying it catches."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml

import paredown
from compressors.models.fingerprint import structure_digest
from paredown import Study
from search.deploy.formats import FILES
from search.deploy.verified import verify_export
from tests.conftest import USER_MODEL

ROOT = Path(__file__).parents[2]
NAME = "exported_model"
CARD = """
    card = {"metric": "accuracy", "preprocessing": "none", "license": "mit"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a model of the user's own, importable while these tests run."""
    folder = tmp_path_factory.mktemp("exports")
    (folder / f"{NAME}.py").write_text(USER_MODEL + CARD)
    (folder / "conf" / "task").mkdir(parents=True)
    node = {"_target_": f"{NAME}.Task", "recovery_epochs": 1}
    (folder / "conf" / "task" / "exported.yaml").write_text(yaml.safe_dump(node))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        patch.setenv("PAREDOWN_CACHE", str(folder / "cache"))
        yield folder
        sys.modules.pop(NAME, None)


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    quick = ("task=exported", "trials=4", "latency.rounds=3", "tracking=none")
    return paredown.run_study(*quick, "~constraints.relative_drop", config_dir="conf")


@pytest.fixture(scope="module")
def whole(study: Study, folder: Path) -> Path:
    """An export in every format that needs no extra."""
    formats = [name for name in FILES if name != "openvino"]
    return study.export("knee", folder / "whole", formats=formats).folder


@pytest.fixture
def export(whole: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "export"))


def sign_anew(folder: Path) -> None:
    """Write the hashes of a folder anew, as who forges an export would."""
    evidence = json.loads((folder / "evidence.json").read_text())
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    names = [line.partition("  ")[2] for line in lines]
    digests = {n: sha256((folder / n).read_bytes()).hexdigest() for n in names}
    evidence["sha256"] = {name: digests[name] for name in evidence["sha256"]}
    (folder / "evidence.json").write_text(json.dumps(evidence))
    digests["evidence.json"] = sha256((folder / "evidence.json").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text("".join(f"{d}  {n}\n" for n, d in digests.items()))


def ran(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of an export where nothing but numpy and onnxruntime can be imported."""
    code = (
        "import runpy, sys\n"
        "for name in ('torch', 'onnx', 'search', 'compressors', 'paredown', 'constriction'):\n"
        "    sys.modules[name] = None\n"
        f"runpy.run_path({str(folder / script)!r}, run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder.parent
    )


def test_the_folder_works_with_numpy_and_onnxruntime_alone(whole: Path) -> None:
    done = ran("infer.py", whole)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("output\n(1, 2)\nfloat32")
    assert ran("check.py", whole).returncode == 0


def test_the_file_says_what_it_is_and_computes_what_was_measured(whole: Path, study: Study) -> None:
    kept = study.folder / "trials" / f"{study.select('knee').number:04d}" / "model.onnx"
    model = onnx.load(whole / "model.onnx")
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert all(names)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["study"] == "exported"
    assert facts["outputs"] == "output [B, 2], classes on axis 1"
    assert (facts["metric"], facts["license"]) == ("accuracy", "mit")
    x = torch.randn(7, 12, generator=torch.Generator().manual_seed(0)).numpy()
    found, wanted = (
        onnxruntime.InferenceSession(path).run(None, {"input": x})[0]
        for path in (whole / "model.onnx", kept)
    )
    np.testing.assert_array_equal(found, wanted)


def test_a_program_needs_no_code_of_the_task(whole: Path, study: Study) -> None:
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    wanted = study.select("knee").load()(x)
    loaded = torch.export.load(whole / "model.pt2").module()
    torch.testing.assert_close(loaded(x), wanted)
    torch.testing.assert_close(loaded(x[:1]), wanted[:1])


def test_openvino_runs_the_exported_file(study: Study, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="the optional extra `openvino`")
    for number, trial in enumerate(study.front):
        expression = f"max score where size_bytes=={trial.metrics['size_bytes']:.12g}"
        folder = study.export(
            expression, tmp_path / str(number), formats=["onnx", "openvino"]
        ).folder
        x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)).numpy()
        (wanted,) = onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"input": x})
        for file in ("model.onnx", "model.xml"):
            (found,) = openvino.compile_model(folder / file, "CPU")([x]).to_tuple()
            np.testing.assert_allclose(found, wanted, atol=0.05 * np.abs(wanted).max())


def test_an_export_has_the_files_of_its_formats_and_no_others(study: Study, tmp_path: Path) -> None:
    every = {file for files in FILES.values() for file in files}
    for formats in (["onnx", "pt2"], ["onnx"], ["onnx", "packed", "safetensors"]):
        folder = study.export("knee", tmp_path / "export", formats=formats).folder
        wanted = {file for name in formats for file in FILES[name]}
        assert {path.name for path in folder.iterdir()} & every == wanted
        assert not verify_export(folder, rounds=2).differences


@pytest.mark.parametrize(
    ("formats", "reason"),
    [
        (["onnx", "tflite"], "formats must be some of onnx, .*, got tflite"),
        (["packed"], "formats must name onnx"),
        ([], "formats must name onnx, .* got none"),
    ],
)
def test_formats_that_cannot_be_written_are_refused(
    formats: list[str], reason: str, study: Study
) -> None:
    with pytest.raises(paredown.ConfigError, match=reason):
        study.export("knee", formats=formats)


def test_a_verified_export_keeps_a_profile_of_every_machine(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = verify_export(export, rounds=2)
    assert not first.differences
    monkeypatch.setattr("platform.node", lambda: "another machine")
    second = verify_export(export, rounds=2)
    assert not second.differences
    assert {path.name for path in (export / "machines").iterdir()} == {
        first.path.name,
        second.path.name,
    }
    kept = json.loads(first.path.read_text())
    evidence = json.loads((export / "evidence.json").read_text())
    assert kept["score"]["here"] == pytest.approx(evidence["validation"]["score"])
    assert kept["latency"]["here_ms"] == first.latency_ms
    assert kept["cpu"] == evidence["timed"]["cpu"]
    assert ran("check.py", export).returncode == 0  # profiles are no part of what was exported


def test_one_flipped_byte_anywhere_is_caught(export: Path) -> None:
    names = [path.name for path in export.iterdir() if path.is_file()]
    assert {"SHA256SUMS", "evidence.json", "README.md", "infer.py", "model.pt2"} <= set(names)
    for name in names:
        content = bytearray((export / name).read_bytes())
        place = len(content) // 2
        content[place] ^= 1
        (export / name).write_bytes(content)
        assert ran("check.py", export).returncode == 1 or name == "check.py", name
        content[place] ^= 1
        (export / name).write_bytes(content)
    assert ran("check.py", export).returncode == 0
    weights = bytearray((export / "model.packed").read_bytes())
    weights[-1] ^= 1
    (export / "model.packed").write_bytes(weights)
    found = " ".join(verify_export(export, rounds=2).differences)
    assert "model.packed is not the file that was exported" in found
    assert "model.packed does not restore model.onnx" in found or "is of another model" in found


def test_another_model_under_the_same_name_is_caught_though_all_hashes_are_its_own(
    export: Path,
) -> None:
    model = onnx.load(export / "model.onnx")
    weight = next(t for t in model.graph.initializer if len(t.dims) == 2)
    array = onnx.numpy_helper.to_array(weight).copy()
    weight.CopyFrom(onnx.numpy_helper.from_array(-array, weight.name))
    onnx.save(model, export / "model.onnx")
    assert any("model.onnx is not the" in d for d in verify_export(export, rounds=2).differences)
    sign_anew(export)
    found = verify_export(export, rounds=2).differences
    assert "model.packed is of another model than model.onnx" in found
    assert any("model.safetensors" in difference for difference in found)


def test_a_wrong_score_is_caught_though_all_hashes_fit(export: Path) -> None:
    evidence = json.loads((export / "evidence.json").read_text())
    evidence["validation"]["score"] += 0.005
    (export / "evidence.json").write_text(json.dumps(evidence))
    sign_anew(export)
    (found,) = verify_export(export, rounds=2).differences
    assert "in the evidence" in found


def test_without_the_task_all_else_is_verified(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, NAME, None)  # as on a machine without it
    done = verify_export(export, rounds=2)
    assert not done.differences
    assert done.score is None
    assert NAME in done.unscored
    assert done.latency_ms is not None
    (export / "model.onnx").write_bytes(b"")
    found = " ".join(verify_export(export, rounds=2).differences)
    assert "model.onnx is not the file that was exported" in found


@pytest.mark.slow  # two processes that import torch
def test_the_command_says_in_one_line_what_differs(export: Path, study: Study) -> None:
    command = [sys.executable, "-m", "search.cli", "verify", str(export), "rounds=2"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{study.config.runs_dir.parent}"}
    whole = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert whole.returncode == 0, whole.stderr
    assert "as exported; written to" in whole.stdout
    (export / "infer.py").write_text("another")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("paredown: infer.py is not the file that was exported")
    assert len(done.stderr.splitlines()) == 1
    found = paredown.verify(export, rounds=2)
    assert found.differences
    assert found.score == study.select("knee").metrics["score"]


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(paredown.ConfigError, match="is no folder of an export"):
        verify_export(tmp_path)


@pytest.mark.parametrize("change", ["weights", "data", "gone"])
def test_what_was_kept_is_exported_though_the_task_has_changed(
    change: str, study: Study, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(NAME)
    same = study.export("knee", tmp_path / "same")
    assert same.changed == ""

    class Other(module.Task):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            if change == "weights":
                with torch.no_grad():
                    self.model[0].weight.mul_(1.01)
            else:
                self.validation = [module.data(200, 9)]

    if change == "gone":
        monkeypatch.setitem(sys.modules, NAME, None)
    else:
        monkeypatch.setattr(module, "Task", Other)
    done = study.export("knee", tmp_path / "changed")
    words = {"weights": "model differs", "data": "now scores", "gone": "cannot be built"}
    assert words[change] in done.changed
    assert "\n" not in done.changed
    assert done.test == same.test
    assert done.changed in (done.folder / "README.md").read_text()
    for file in ("model.onnx", "model.packed", "model.safetensors"):
        if file != "model.onnx" or change == "data":  # its description knows no outputs then
            assert (done.folder / file).read_bytes() == (same.folder / file).read_bytes()
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert not verify_export(done.folder, rounds=2).differences
    assert structure_digest(paredown.load_compressed(done.folder)) == structure_digest(
        paredown.load_compressed(same.folder)
    )
    shutil.rmtree(done.folder)


def test_a_trial_that_was_not_kept_cannot_be_exported_once_the_task_has_changed(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = study.folder / "trials" / f"{study.select('knee').number:04d}" / "model.packed"
    monkeypatch.setitem(sys.modules, NAME, None)
    content = kept.read_bytes()
    kept.unlink()
    try:
        with pytest.raises(
            paredown.StudyError, match="were not kept, since it is not on the front"
        ):
            study.export("knee", tmp_path)
    finally:
        kept.write_bytes(content)
