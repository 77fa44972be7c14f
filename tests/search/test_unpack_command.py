from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from search.artefact.packed_form.packing import pack
from search.cli import main
from search.config.overrides import name_bare
from tests.disks import no_room


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A packed file whose name is none that Hydra could read."""
    tensor = numpy_helper.from_array(np.eye(30, dtype=np.float32), "a")
    model = helper.make_model(helper.make_graph([], "g", [], [], initializer=[tensor]))
    path = tmp_path / "my model(1), 'best'.packed"
    path.write_bytes(pack(model.SerializeToString(), []))
    path.with_suffix(".expected").write_bytes(model.SerializeToString())
    return path


def unpacked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["paredown", "unpack", *arguments])
    return main()


def test_the_onnx_file_comes_back(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = file.parent / "there=here.onnx"
    assert unpacked(monkeypatch, str(file), f"out={target}") == 0
    assert target.read_bytes() == file.with_suffix(".expected").read_bytes()
    assert unpacked(monkeypatch, str(file)) == 0
    assert file.with_suffix(".onnx").read_bytes() == target.read_bytes()
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (2, "")


@pytest.mark.fault("a packed file is damaged", "`unpack` is told to write over its source")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "unpack needs a file"),
        (["nowhere.packed"], "No such file"),
        (["{damaged}"], "does not match"),
        (["{file}", "out=/nowhere/model.onnx"], "No such file"),
        (["{file}", "out={file}"], "is the packed file itself"),
        (["{file}", "out={link}"], "is the packed file itself"),
        (["{file}", "out=/dev/null"], "is no file"),
        (["{file}", "limit_bytes=100"], "unpacks to more than limit_bytes=100"),
        (["{file}", "another"], "another"),
        (["{file}", "ou=model.onnx"], "did you mean 'out'?"),
    ],
)
def test_bad_input_gives_one_line(
    arguments: list[str],
    message: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damaged = file.with_suffix(".damaged")
    damaged.write_bytes(file.read_bytes()[:5] + b"x" + file.read_bytes()[6:])
    link = file.with_suffix(".link")
    link.symlink_to(file)
    whole = file.read_bytes()
    filled = [argument.format(file=file, damaged=damaged, link=link) for argument in arguments]
    assert unpacked(monkeypatch, *filled) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert file.read_bytes() == whole


@pytest.mark.fault("`unpack` finds no room")
def test_without_room_what_was_there_stays(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = file.with_suffix(".onnx")
    target.write_bytes(b"before")
    with no_room():
        assert unpacked(monkeypatch, str(file)) == 2
    assert "File too large" in capsys.readouterr().err
    assert target.read_bytes() == b"before"
    assert not list(file.parent.glob("*.part"))


def test_only_the_first_bare_argument_is_the_file() -> None:
    arguments = ["--config-dir", "mine", "a.packed", "out=b"]
    assert name_bare(arguments, ["file"]) == ["--config-dir", "mine", "file=a.packed", "out=b"]
