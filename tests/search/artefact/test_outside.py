"""Weights outside of the graph and of the ONNX file: nothing changes but where they are."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compressors.base import run
from search.artefact.artefact import write_artefact
from search.artefact.model_files import run_bytes, run_files
from search.artefact.onnx_form.exporting.exporters import EXPORTERS
from search.artefact.onnx_form.runtime import predictor
from search.artefact.packed_form.packing import pack_file, packed_parts, restores
from search.artefact.packed_form.unpack import (
    DATA_FILE,
    PAGE,
    CorruptFileError,
    unpack,
    unpack_file,
)
from tests.search.artefact.test_artefact import COMPRESSIONS, compressed

OUTSIDE, STORING = "search.artefact.onnx_form.outside", "search.artefact.onnx_form.storing"
SLOW = pytest.mark.slow  # 2 s each: quantisers, and the slow exporter
CASES = [
    ("transformer", "none"),
    ("transformer", "8 bits in groups"),
    ("recurrent", "none"),
    ("residual", "5 bits in integers"),
    *(
        pytest.param(net, compression, marks=SLOW)
        for net in ("residual", "transformer", "recurrent")
        for compression in ("zeros, clusters", "4 bits", "8 bits", "4 bits in integers")
    ),
]


@pytest.fixture
def large(monkeypatch):
    """Have every model be a large one."""
    monkeypatch.setattr(f"{OUTSIDE}.MAX_INSIDE_BYTES", 0)
    monkeypatch.setattr(f"{OUTSIDE}.MIN_OUTSIDE_BYTES", 64)
    monkeypatch.setattr(f"{STORING}.MIN_OUTSIDE_BYTES", 64)


@pytest.fixture
def larger(large, monkeypatch):
    """Have every model be too large for one file."""
    monkeypatch.setattr(f"{STORING}.MAX_FILE_BYTES", 100)


@pytest.mark.parametrize(("net", "compression"), CASES)
def test_a_model_with_a_data_file_computes_the_same(net, compression, tmp_path, larger):
    model, task = compressed(net, COMPRESSIONS[compression])
    artefact = write_artefact(model, task, tmp_path / "new")
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"model.onnx", DATA_FILE, "model.packed"}
    data = (tmp_path / "new" / DATA_FILE).stat().st_size
    assert artefact.run_bytes == artefact.run_path.stat().st_size + data
    assert artefact.fidelity_db > (
        25 if compression == "8 bits" or "integers" in compression else 100
    )

    target = tmp_path / "there" / "other.onnx"
    target.parent.mkdir()
    assert unpack_file(artefact.ship_path, target, artefact.run_bytes) == artefact.run_bytes
    for ours, theirs in zip(run_files(artefact.run_path), run_files(target), strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    expected = run(model, task.inputs[:7])
    signal = expected.square().sum()
    for path in (artefact.run_path, target):
        noise = (predictor(path)(task.inputs[:7]) - expected).square().sum()
        assert 10 * torch.log10(signal / noise) > artefact.fidelity_db - 15


@pytest.mark.parametrize(
    "exporter", ["the TorchScript exporter", pytest.param("torch.export", marks=SLOW)]
)
def test_a_large_model_that_fits_one_file_is_in_one(exporter, tmp_path, large, monkeypatch):
    monkeypatch.setattr("search.artefact.float_form.EXPORTERS", {exporter: EXPORTERS[exporter]})
    model, task = compressed("transformer", [])
    (tmp_path / DATA_FILE).write_bytes(b"of an earlier artefact")
    artefact = write_artefact(model, task, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.packed"}
    onnx.checker.check_model(artefact.run_path, full_check=True)
    assert artefact.fidelity_db > 100
    assert unpack(artefact.ship_path.read_bytes()) == artefact.run_path.read_bytes()


def outside(values: np.ndarray, **place: object) -> TensorProto:
    """An initialiser whose values are in a data file."""
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    tensor = TensorProto(name="w", data_type=kind, dims=values.shape)
    tensor.data_location = TensorProto.EXTERNAL
    known = {"location": DATA_FILE, "offset": 0, "length": values.nbytes}
    for key, value in (known | place).items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def model(*tensors: TensorProto) -> bytes:
    graph = helper.make_graph([], "g", [], [], initializer=list(tensors))
    return helper.make_model(graph).SerializeToString()


VALUES = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)


@pytest.mark.parametrize(
    "place",
    [
        {"location": "../model.onnx.data"},
        {"location": "/etc/passwd"},
        {"location": "other.data"},
        {"offset": -PAGE},
        {"offset": 1},
        {"offset": PAGE},
        {"offset": 10**20},
        {"offset": "none"},
        {"length": 2 * VALUES.nbytes},
        {"basepath": "/etc"},
    ],
)
def test_a_tensor_elsewhere_is_refused(place):
    with pytest.raises(CorruptFileError, match="data file"):
        unpack(b"".join(packed_parts(model(outside(VALUES, **place)), [], bytes(4 * PAGE))))


def packed_large(folder: Path) -> Path:
    """A packed file with values inside and outside."""
    small = numpy_helper.from_array(VALUES[0], "b")
    (folder / "model.onnx").write_bytes(model(small, outside(VALUES)))
    (folder / DATA_FILE).write_bytes(VALUES.tobytes())
    pack_file(folder / "model.onnx", folder / "model.packed", [])
    return folder / "model.packed"


def test_the_limit_holds_for_both_files_together(tmp_path):
    packed = packed_large(tmp_path)
    with pytest.raises(CorruptFileError, match="more than limit_bytes=4900"):
        unpack_file(packed, tmp_path / "out.onnx", VALUES.nbytes + 100)
    assert not (tmp_path / "out.onnx").exists()


def test_the_data_file_of_another_model_stays_and_damage_leaves_nothing(tmp_path):
    packed = packed_large(tmp_path)
    assert unpack_file(packed, tmp_path / "again.onnx") == run_bytes(tmp_path / "model.onnx")
    there = tmp_path / "there"
    there.mkdir()
    (there / DATA_FILE).write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="of another model"):
        unpack_file(packed, there / "model.onnx")
    with pytest.raises(FileExistsError, match="choose another name"):
        unpack_file(packed, there / DATA_FILE)
    damaged = bytearray(packed.read_bytes())
    damaged[-3] ^= 1
    packed.write_bytes(damaged)
    with pytest.raises(CorruptFileError):
        unpack_file(packed, there / "model.onnx")
    assert [path.name for path in there.iterdir()] == [DATA_FILE]
    assert (there / DATA_FILE).read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["model.onnx", DATA_FILE])
@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"x" + b[1:]])
def test_a_packed_file_restores_its_own_files_only(name, change, tmp_path):
    packed = packed_large(tmp_path)
    assert restores(packed, tmp_path / "model.onnx")
    (tmp_path / name).write_bytes(change((tmp_path / name).read_bytes()))
    try:
        same = restores(packed, tmp_path / "model.onnx")
    except CorruptFileError:  # it unpacks to more than the files have
        same = False
    assert not same
