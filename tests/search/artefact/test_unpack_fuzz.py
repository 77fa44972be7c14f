"""Hostile and damaged packed files end in one kind of error, within time and memory."""

import tracemalloc

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compressors.weights.encoded import CodedWeight
from search.artefact.packed_form.array_forms import deflated
from search.artefact.packed_form.packing import pack
from search.artefact.packed_form.unpack import (
    CODED,
    CONSTANT,
    CONTEXT,
    DEFLATE,
    DICTIONARY,
    DIGEST_SIZE,
    MAGIC,
    MASKED,
    PLANES,
    TABLE,
    CorruptFileError,
    Piece,
    Seal,
    unpack,
    varint,
)

LIMIT = 1 << 20
HEAD = len(MAGIC) + DIGEST_SIZE


def model(tensors):
    return helper.make_model(helper.make_graph([], "g", [], [], initializer=tensors))


def samples():
    """Return small packed files that hold every kind of array."""
    rng = np.random.default_rng(0)
    sparse = rng.normal(size=(24, 40)) * (rng.random((24, 40)) < 0.2)
    code = CodedWeight(
        indices=rng.binomial(6, 0.5, (12, 20)),
        levels=np.arange(-3, 4, dtype=np.float32),
        offset=np.zeros((12, 2), np.float32),
        factor=rng.random((12, 2)).astype(np.float32),
        group=12,
        bits=3,
        shape=(12, 20),
    )
    arrays = {
        "coded": code.decode(),
        "masked": sparse.astype(np.float32),
        "shared": np.round(sparse, 0).astype(np.float32),
        "floats": rng.normal(size=(7, 9)).astype(np.float32),
        "bytes": rng.binomial(255, 0.5, (16, 16)).astype(np.uint8),
        "nibbles": rng.choice([0, 0x88, 0x87, 0x78], (16, 16)).astype(np.uint8),
        "repeated": np.tile(np.arange(50, dtype=np.int64), 5),
        "constant": np.ones((9, 9), np.float32),
    }
    tensors = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    whole = pack(model(tensors).SerializeToString(), [code])
    alone = [pack(model([tensor]).SerializeToString(), [code]) for tensor in tensors]
    return [whole, *alone]


def sealed(body, restored=b""):
    seal = Seal(body)
    seal.add(Piece(restored))
    return MAGIC + seal.value() + body


def survives(packed):
    """Return the model that hostile data gives, None where it is refused as corrupt."""
    try:
        return unpack(packed, LIMIT)
    except CorruptFileError:
        return None


def damaged(body, others, rng):
    """Return a body with bits flipped, cut, spliced with another one, or with bytes put in."""
    body = bytearray(body)
    kind = rng.integers(5)
    if kind == 0:
        for position in rng.integers(0, len(body), rng.integers(1, 9)):
            body[position] ^= 1 << rng.integers(8)
    elif kind == 1:
        del body[rng.integers(0, len(body)) :]
    elif kind == 2:
        other = others[rng.integers(len(others))]
        body[rng.integers(0, len(body)) :] = other[rng.integers(HEAD, len(other)) :]
    elif kind == 3:
        # The program stands first: its numbers are sizes and methods.
        body[rng.integers(0, min(60, len(body)))] = rng.choice([0, 1, 7, 8, 127, 128, 255])
    else:
        place = rng.integers(0, len(body))
        body[place:place] = rng.bytes(rng.integers(1, 9))
    return bytes(body)


@pytest.mark.parametrize("seed", range(4))
def test_damage_ends_in_one_kind_of_error(seed):
    rng = np.random.default_rng(seed)
    files = samples()
    refused = 0
    for _ in range(600):
        body = damaged(files[rng.integers(len(files))][HEAD:], files, rng)
        # A forger knows how to compute the digest, but not of what he has not unpacked.
        refused += survives(sealed(body)) is None
    assert refused == 600


def forged(body, monkeypatch):
    """Unpack with any digest taken for the right one."""
    monkeypatch.setattr("search.artefact.packed_form.unpack.Seal.value", lambda seal: b"x" * 16)
    return survives(MAGIC + b"x" * 16 + body)


@pytest.mark.parametrize("seed", range(4))
def test_damage_under_a_forged_digest_stays_within_the_limit(seed, monkeypatch):
    rng = np.random.default_rng(100 + seed)
    files = samples()
    taken = 0
    for _ in range(600):
        body = damaged(files[rng.integers(len(files))][HEAD:], files, rng)
        restored = forged(body, monkeypatch)
        taken += restored is not None
        assert restored is None or len(restored) < 1.1 * LIMIT
    assert taken > 0  # so that the parser was reached behind all its checks


def hostile(dims, program, words=b"", kind=TensorProto.FLOAT):
    tensor = TensorProto(dims=dims, data_type=kind, name="a")
    graph = model([tensor]).SerializeToString()
    return varint(len(program)) + program + deflated(graph, DICTIONARY) + words


def numbers(*values):
    return b"".join(map(varint, values))


HUGE = 1 << 40
ZEROS = deflated(bytes(1 << 24))
HOSTILE = {
    "a tensor beyond the limit": hostile([1 << 30], numbers(CONSTANT) + bytes(4)),
    "dimensions that overflow": hostile([HUGE, HUGE, HUGE], numbers(CONSTANT) + bytes(4)),
    "a negative dimension": hostile([-5, 7], numbers(CONSTANT) + bytes(4)),
    "an unknown method": hostile([64], numbers(77)),
    "an endless number": hostile([64], b"\xff" * 500),
    "a table without entries": hostile([64], numbers(TABLE, 0)),
    "a table of a billion entries": hostile([64], numbers(TABLE, 1 << 30)),
    "tables in tables": hostile([64], numbers(*[TABLE, 64] * 400)),
    "masks in masks": hostile([64], numbers(*[MASKED, 0] * 400)),
    "a deflated bomb": hostile([64], numbers(DEFLATE, len(ZEROS)) + ZEROS),
    "rows that do not divide": hostile(
        [64], numbers(TABLE, 2, CONSTANT, 1, 1, 1, 1, CONTEXT, 0, 7)
    ),
    "no rows": hostile([64], numbers(CODED, 0, 0, 0, 2)),
    "one long row in context": hostile([1 << 16], numbers(MASKED, CONTEXT, 0, 1, 2, 0)),
    "a matrix of four columns": hostile([1 << 18, 4], numbers(MASKED, CONTEXT, 0, 1 << 18, 2, 0)),
    "a stride beyond the columns": hostile([32, 32], numbers(MASKED, CONTEXT, 0, 32, HUGE, 0)),
    "a zero beyond the alphabet": hostile([32, 32], numbers(MASKED, CONTEXT, 0, 32, 2, 9)),
    "a stride of nothing": hostile([32, 32], numbers(MASKED, CONTEXT, 0, 32, 0, 0)),
    "planes without words": hostile([64], numbers(PLANES)),
    "a program that goes on": hostile([64], numbers(CONSTANT) + bytes(9)),
    "half a word": hostile([64], numbers(CONSTANT) + bytes(4), b"abc"),
    "a graph that is a bomb": numbers(0) + deflated(bytes(1 << 24), DICTIONARY),
    "a graph of groups": numbers(0) + deflated(b"\x0b" * 1000, DICTIONARY),
    "a program longer than the file": numbers(HUGE),
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, monkeypatch):
    assert forged(HOSTILE[name], monkeypatch) is None


def test_memory_stays_within_the_stated_bound():
    """A file may ask for all that the limit allows, and gets no more than eight times that."""
    files = [hostile([LIMIT // 8 - 64, 2], numbers(MASKED, 0, PLANES, 0, 0, 0, 0), bytes(400))]
    files.append(hostile([LIMIT // 4 - 64], numbers(CONSTANT) + bytes(4)))
    files.append(hostile([1024, 250], numbers(MASKED, CONTEXT, 0, 1024, 2, 0, CONSTANT) + bytes(4)))
    files.append(hostile([1 << 30], numbers(CONSTANT) + bytes(4)))
    wordy = model([TensorProto(dims=[8], data_type=1, name="n" * (LIMIT // 2))])
    files.append(varint(0) + deflated(wordy.SerializeToString(), DICTIONARY))
    for body in files:
        tracemalloc.start()
        survives(sealed(body))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * LIMIT + (1 << 20)


def test_the_limit_is_the_callers():
    file = model([numpy_helper.from_array(np.ones((100, 100), np.float32), "a")])
    packed = pack(file.SerializeToString(), [])
    assert len(unpack(packed, 41_000)) > 40_000
    with pytest.raises(CorruptFileError, match="more than limit_bytes=40000"):
        unpack(packed, 40_000)
