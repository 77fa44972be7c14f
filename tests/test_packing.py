import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compressors.coding import CodedWeight
from search.packed_form import unpack as unpack_file
from search.packed_form.coded_rows import CodedRows
from search.packed_form.packing import pack
from search.packed_form.symbol_coding import Writer, entropy_encode, pack_bits, scale_frequencies
from search.packed_form.unpack import PackedFileError, Reader, entropy_decode, unpack, unpack_bits

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
        offset=offset,
        factor=factor,
        bits=bits,
        shape=weight.shape,
    )


def entropy_bytes(indices):
    shares = np.bincount(indices.reshape(-1)) / indices.size
    shares = shares[shares > 0]
    return -(shares * np.log2(shares)).sum() * indices.size / 8


@pytest.mark.parametrize("width", range(1, 13))
def test_bits_are_packed_without_gaps(width):
    values = np.random.default_rng(width).integers(0, 2**width, 1001)
    written = "".join(format(value, f"0{width}b") for value in values)
    written += "0" * (-len(written) % 8)
    reference = int(written, 2).to_bytes(len(written) // 8, "big")
    assert pack_bits(values, width) == reference
    assert np.array_equal(unpack_bits(reference, len(values), width), values)


@pytest.mark.parametrize("lanes", [1, 2, 7, 64])
@pytest.mark.parametrize("shares", [[1.0], [0.999, 0.001], [0.5, 0.0, 0.5], [0.1] * 10])
def test_entropy_coding_is_reversible(lanes, shares):
    values = np.random.default_rng(0).choice(len(shares), 5003, p=shares)
    frequencies = scale_frequencies(np.bincount(values, minlength=len(shares)))
    coded = entropy_encode(values, frequencies, lanes)
    assert np.array_equal(entropy_decode(coded, frequencies, lanes, values.size), values)


def test_every_symbol_that_occurs_has_a_frequency():
    counts = np.array([10**7, *[1] * 3000, 0])
    scaled = scale_frequencies(counts)
    assert scaled.sum() == 1 << 14
    assert (scaled[:-1] > 0).all()
    assert scaled[-1] == 0


@pytest.mark.parametrize(
    ("alphabet", "values"),
    [
        (1, np.zeros(50, np.int64)),
        (5, np.full(50, 3)),
        (2, np.arange(9) % 2),
        (256, np.arange(5000) % 256),
        (4000, np.random.default_rng(0).integers(0, 4000, 50_000)),
        (5000, np.random.default_rng(0).integers(0, 5000, 50_000)),
    ],
)
def test_symbols_are_read_as_written(alphabet, values):
    writer = Writer()
    writer.symbols(values, alphabet)
    outer = Reader(writer.finish(), [])
    program = outer.stream()
    blobs = [outer.stream() for _ in range(outer.number())]
    assert np.array_equal(Reader(program, blobs).symbols(), values)


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
        offset=np.full(ROWS, 3, np.float32),
        factor=np.full(ROWS, 0.1, np.float32),
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
        with pytest.raises(PackedFileError):
            unpack(bytes(damaged))


@pytest.mark.parametrize("size", [0, 3, 20, 36, 37, 1000])
def test_a_cut_file_is_rejected(size):
    with pytest.raises(PackedFileError):
        unpack(pack(as_file(weight=gaussian()), [])[:size])


def test_the_decoder_runs_on_its_own(tmp_path):
    script = tmp_path / "unpack.py"
    script.write_bytes(Path(unpack_file.__file__).read_bytes())
    file = as_file(weight=quantised(gaussian(), 3).decode())
    (tmp_path / "model.packed").write_bytes(pack(file, []))
    command = [sys.executable, "-I", "unpack.py", "model.packed", "model.onnx"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "model.onnx").read_bytes() == file
    onnx.load(tmp_path / "model.onnx")

    (tmp_path / "model.packed").write_bytes(b"something else")
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
