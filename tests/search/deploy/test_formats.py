"""OpenVINO computes what the ONNX file does, or its form is refused in one line."""

from pathlib import Path

import pytest

from search.artefact.artefact import write_artefact
from search.deploy import formats
from search.deploy.formats import check_formats, write_openvino
from search.errors import ArtefactError, ConfigError
from tests.acting import acting
from tests.zoo import NETS, toy_task


@pytest.mark.parametrize("name", ["channel_pruning", "quantization"])
@pytest.mark.parametrize("net", NETS)
def test_openvino_computes_what_the_file_does(net: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the optional extra `openvino`")
    task = toy_task(net)
    artefact = write_artefact(acting(name)(task.baseline, task), task, tmp_path)
    write_openvino(tmp_path, task.example, integers=artefact.integer_operators > 0)
    assert (tmp_path / "model.xml").exists()


def test_operators_that_openvino_lacks_are_named(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the optional extra `openvino`")
    task = toy_task("lstm")  # its embedding is quantised in blocks
    write_artefact(acting("quantization")(task.baseline, task), task, tmp_path)
    with pytest.raises(ArtefactError, match=r"OpenVINO does not take model.onnx: .*GatherBlock"):
        write_openvino(tmp_path, task.example, integers=True)


def test_openvino_is_asked_for_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'paredown\[openvino\]'"):
        check_formats(["onnx", "openvino"])


def test_formats_are_in_one_order_each_once() -> None:
    assert check_formats(["pt2", "onnx", "pt2"]) == ("onnx", "pt2")
