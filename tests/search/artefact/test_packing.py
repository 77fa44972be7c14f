import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compressors.weights.encoded import CodedWeight
from search.artefact.packed_form import unpack as unpack_file
from search.artefact.packed_form.coded_rows import CodedRows
from search.artefact.packed_form.packing import pack
from search.artefact.packed_form.unpack import (
    MAX_STRETCH,
    SQUASH,
    STRETCH,
    CorruptFileError,
    RangeDecoder,
    Reader,
    unpack,
)
from search.artefact.packed_form.writer import Writer

ROWS, COLUMNS = 100, 1000


def as_file(**tensors):
    initialisers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph([], "graph", [], [], initializer=initialisers)
    return helper.make_model(graph).SerializeToString()


def gaussian(seed=0, shape=(ROWS, COLUMNS)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def quantised(weight, bits, *, symmetric=True, per_channel=True):
    high = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
    low = -high if symmetric else 0
    rows = weight.reshape(len(weight), -1)
    spread = rows if per_channel else rows.reshape(1, -1)
    bottom = np.zeros(len(spread)) if symmetric else spread.min(1)
    top = np.abs(spread).max(1) if symmetric else spread.max(1) - bottom
    factor = np.broadcast_to(top / high, len(rows)).astype(np.float32)
    offset = np.broadcast_to(np.rint(-bottom / (top / high)), len(rows)).astype(np.float32)
    integers = np.clip(np.rint(rows / factor[:, None]) + offset[:, None], low, high)
    return CodedWeight(
        indices=integers.astype(np.int64) - low,
        levels=np.arange(low, high + 1, dtype=np.float32),
        offset=offset[:, None],
        factor=factor[:, None],
        group=rows.shape[1],
        bits=bits,
        shape=weight.shape,
    )


def entropy_bytes(indices):
    shares = np.bincount(indices.reshape(-1)) / indices.size
    shares = shares[shares > 0]
    return -(shares * np.log2(shares)).sum() * indices.size / 8


SYMBOLS = {
    "one kind": (1, np.zeros((10, 5), np.int64)),
    "one of five": (5, np.full((10, 5), 3)),
    "two in turn": (2, np.arange(9).reshape(1, 9) % 2),
    "all bytes": (256, np.arange(5000).reshape(50, 100) % 256),
    "4,000 kinds": (4000, np.random.default_rng(0).integers(0, 4000, (100, 500))),
    "few, one-sided": (4, np.random.default_rng(0).poisson(0.1, (90, 70)).clip(0, 3)),
    "few, negative": (4, 3 - np.random.default_rng(0).poisson(0.1, (90, 70)).clip(0, 3)),
    "few, of both signs": (7, np.random.default_rng(0).normal(3, 0.7, (64, 81)).clip(0, 6)),
    "high": (5, np.random.default_rng(0).poisson(0.3, (400, 12)).clip(0, 4)),
    "a band": (2, np.eye(80, 90, 3)),
}


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_are_read_as_written(name):
    alphabet, matrix = SYMBOLS[name]
    matrix = matrix.astype(np.int64)
    writer = Writer()
    writer.symbols(matrix, alphabet)
    reader = Reader(bytes(writer.program), RangeDecoder(writer.words()))
    assert np.array_equal(reader.symbols(matrix.size, alphabet), matrix.reshape(-1))
    reader.end()


def test_symbols_take_their_entropy():
    symbols = np.random.default_rng(0).choice(9, 20_000, p=np.arange(9) / 36)
    writer = Writer()
    writer.symbols(symbols, 9)
    words = writer.words()
    assert len(words) < 1.005 * entropy_bytes(symbols) + 8
    assert abs(len(words) - writer.information / 8) < 8


def test_neighbours_in_an_image_tell_of_each_other():
    rng = np.random.default_rng(0)
    centres = rng.integers(4, 24, (60, 2))
    y, x = np.mgrid[:28, :28]
    near = (y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2 < 12
    symbols = (near * rng.choice([-1, 1], (60, 1, 1)) + 1).reshape(60, 784)
    writer = Writer()
    writer.symbols(symbols, 3)
    assert writer.size < 0.45 * entropy_bytes(symbols)


def test_tables_of_log_odds_are_the_same_on_every_machine():
    exact = [65536 / (1 + math.exp(-x / 256)) for x in range(-MAX_STRETCH, MAX_STRETCH + 1)]
    assert min(abs(value % 1 - 0.5) for value in exact) > 1e-6
    assert np.array_equal(SQUASH[STRETCH[SQUASH] + MAX_STRETCH], SQUASH)
    assert SQUASH.min() > 0
    assert SQUASH.max() < 1 << 16


TENSORS = {
    "floats": gaussian(),
    "one value": np.ones((30, 30), np.float32),
    "masked": gaussian() * (gaussian(1) > 1.3),
    "negative zeros": gaussian() * -(gaussian(1) > 1.3).astype(np.float32),
    "clusters": gaussian(1, (16,))[np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 7 % 16],
    "signed bytes": np.random.default_rng(0).integers(-127, 128, (64, 64)).astype(np.int8),
    "large integers": np.arange(-500, 500, dtype=np.int64),
    "doubles": gaussian().astype(np.float64)[:3],
    "half": gaussian().astype(np.float16),
    "truth values": gaussian() > 0,
    "not finite": np.array([np.nan, np.inf, -np.inf, -0.0, 0.0] * 20, np.float32),
    "empty": np.empty((0, 4), np.float32),
    "scalar": np.array(3.5, np.float32),
    "a long row": gaussian(3, (1, 3001)) * (gaussian(4, (1, 3001)) > 1),
    "a column": gaussian(3, (3001, 1)),
    "a prime vector": np.arange(101, dtype=np.float32) % 7,
    "five axes": np.round(gaussian(5, (2, 3, 5, 7, 11))),
    "pairs of nibbles": np.random.default_rng(0)
    .choice([0x88, 0x78, 0x87], (40, 60))
    .astype(np.uint8),
    "mostly 128": np.random.default_rng(0).poisson(0.3, (70, 90)).astype(np.uint8) + np.uint8(128),
    "complex": gaussian(6, (4, 5)).astype(np.complex64),
}


@pytest.mark.parametrize("name", TENSORS)
def test_every_tensor_comes_back_to_the_bit(name):
    file = as_file(first=TENSORS[name], again=TENSORS[name], last=gaussian(2, (3, 3)))
    assert unpack(pack(file, [])) == file


def test_a_file_without_tensors_comes_back():
    assert unpack(pack(as_file(), [])) == as_file()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_quantised_weights_take_their_entropy(bits, symmetric, per_channel):
    code = quantised(gaussian(), bits, symmetric=symmetric, per_channel=per_channel)
    file = as_file(weight=code.decode())
    packed = pack(file, [code])
    assert unpack(packed) == file
    scales = 8 * ROWS if per_channel else 8
    assert len(packed) < 1.02 * entropy_bytes(code.indices) + scales + 4 * 2**bits + 150


@pytest.mark.parametrize(("bits", "limit"), [(2, 0.26), (3, 0.385), (4, 0.51)])
def test_evenly_used_low_bit_weights_take_their_width(bits, limit):
    levels = np.arange(2**bits, dtype=np.float32)
    code = CodedWeight(
        indices=np.random.default_rng(0).integers(0, 2**bits, (ROWS, COLUMNS)),
        levels=levels,
        offset=np.full((ROWS, 1), 3, np.float32),
        factor=np.full((ROWS, 1), 0.1, np.float32),
        group=COLUMNS,
        bits=bits,
        shape=(ROWS, COLUMNS),
    )
    assert len(pack(as_file(weight=code.decode()), [code])) < limit * ROWS * COLUMNS


def test_masked_weights_take_a_mask_and_their_values():
    kept = np.random.default_rng(0).random((ROWS, COLUMNS)) < 0.1
    packed = pack(as_file(weight=np.where(kept, gaussian(), np.float32(0))), [])
    assert len(packed) < 1.02 * (entropy_bytes(kept.astype(np.int64)) + 4 * kept.sum())


def test_shared_weights_need_no_code():
    indices = np.random.default_rng(0).integers(0, 16, (ROWS, COLUMNS))
    assert len(pack(as_file(weight=gaussian(1, (16,))[indices]), [])) < 0.51 * indices.size


@pytest.mark.parametrize("columns", [96, 100])
@pytest.mark.parametrize("layout", ["as it is", "transposed"])
def test_weights_with_a_scale_a_group_take_their_entropy(columns, layout):
    rng = np.random.default_rng(0)
    indices = rng.binomial(14, 0.5, (64, columns))
    groups = -(-columns // 32)
    code = CodedWeight(
        indices=indices,
        levels=np.arange(15, dtype=np.float32),
        offset=rng.integers(6, 8, (64, groups)).astype(np.float32),
        factor=rng.random((64, groups)).astype(np.float32),
        group=32,
        bits=4,
        shape=(64, columns),
    )
    file = as_file(weight=np.ascontiguousarray(LAYOUTS[layout](code.decode())))
    packed = pack(file, [code])
    assert unpack(packed) == file
    assert len(packed) < 1.02 * entropy_bytes(indices) + 4.2 * 64 * groups + 150


def test_zero_points_of_whole_numbers_need_no_room():
    """Integers about the zero point of their own row are as sparse as the weights are."""
    rng = np.random.default_rng(0)
    kept = rng.random((60, 80)) < 0.1
    code = quantised(np.where(kept, gaussian(0, (60, 80)) + 1, 0), 4, symmetric=False)
    assert len(np.unique(code.offset)) > 1
    levels = (code.indices - code.offset + 15).astype(np.int64)
    packed = pack(as_file(weight=code.decode()), [code])
    assert len(packed) < 1.05 * entropy_bytes(levels) + 4 * 60 + 80


def test_an_encoded_bias_is_stored_as_its_code():
    code = replace(quantised(gaussian(0, (1, 300)), 5), shape=(300,))
    file = as_file(bias=code.decode())
    packed = pack(file, [code])
    assert unpack(packed) == file
    assert len(packed) < 300 * 5 / 8 + 90


def test_equal_files_are_packed_equally():
    code = quantised(gaussian(), 3)
    file = as_file(weight=code.decode())
    assert pack(file, [code]) == pack(file, [code])


LAYOUTS = {
    "as it is": lambda w: w,
    "transposed": lambda w: w.T,
    "rows reordered": lambda w: w[np.random.default_rng(0).permutation(ROWS)],
    "two stacked": lambda w: np.stack([w[: ROWS // 2], w[ROWS // 2 :]]),
    "four axes": lambda w: w.reshape(ROWS, 10, 10, 10),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_encoded_rows_are_found_wherever_the_exporter_put_them(layout):
    code = quantised(gaussian(), 4)
    moved = np.ascontiguousarray(LAYOUTS[layout](code.decode()))
    file = as_file(weight=moved)
    packed = pack(file, [quantised(gaussian(9), 3), code])
    assert unpack(packed) == file
    assert len(packed) < 0.45 * moved.size


def test_rows_of_two_bit_widths_share_a_tensor():
    codes = [quantised(gaussian(seed), bits) for seed, bits in ((0, 2), (1, 4))]
    both = np.stack([code.decode() for code in codes])
    found = CodedRows(codes).find(both)
    assert np.array_equal(found.decode().reshape(both.shape), both)


def test_a_tensor_with_an_unknown_row_is_not_taken_for_encoded():
    code = quantised(gaussian(), 4)
    changed = code.decode()
    changed[7, 7] += 1
    assert CodedRows([code]).find(changed) is None


def test_a_changed_byte_is_rejected():
    packed = pack(as_file(weight=quantised(gaussian(), 4).decode()), [])
    for position in np.linspace(0, len(packed) - 1, 60).astype(int):
        damaged = bytearray(packed)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(CorruptFileError):
            unpack(bytes(damaged))


@pytest.mark.parametrize("size", [0, 3, 20, 36, 37, 1000])
def test_a_cut_file_is_rejected(size):
    with pytest.raises(CorruptFileError):
        unpack(pack(as_file(weight=gaussian()), [])[:size])


ALONE = """
import runpy, sys
sys.argv = ["unpack.py", "model.packed", "model.onnx"]
try:
    runpy.run_path("unpack.py", run_name="__main__")
except SystemExit as end:
    heavy = {"torch", "search", "compressors", "scipy", "onnxruntime", "pandas"} & set(sys.modules)
    sys.exit(end.code or sorted(heavy) or 0)
"""


def test_the_reader_runs_on_its_own(tmp_path):
    script = tmp_path / "unpack.py"
    script.write_bytes(Path(unpack_file.__file__).read_bytes())
    file = as_file(weight=quantised(gaussian(shape=(20, 50)), 3).decode())
    (tmp_path / "model.packed").write_bytes(pack(file, []))
    command = [sys.executable, "-I", "-c", ALONE]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "model.onnx").read_bytes() == file
    onnx.load(tmp_path / "model.onnx")

    (tmp_path / "model.packed").write_bytes(b"something else")
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
