"""Rebuild model.onnx from model.packed: `python unpack.py model.packed model.onnx`.

This file stands alone (standard library and numpy), so that it can travel with a packed model.
A packed file is `magic | digest | program | blobs`. The program, read from front to back, says
what comes next in the ONNX file: literal bytes, or a tensor and how it was encoded. `packing.py`
writes what this file reads.
"""

import hashlib
import lzma
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"PDN\x01"
DIGEST_SIZE = 32
RAW, PLANES, TABLE, SPARSE, RANGE, CODED = range(6)
"""How a tensor is encoded; see `Reader.tensor`."""
CONSTANT, BITS, BYTES, ENTROPY = range(4)
"""How a run of symbols is encoded; see `Reader.symbols`."""
STATE_BITS = 16
"""A coder state lies in [2**16, 2**32) and is refilled by one 16-bit word."""
LZMA_LAYOUTS = ((0, 0, 0), (3, 0, 2), (0, 2, 2))
"""(lc, lp, pb) of the LZMA streams: symbols, text, 4-byte values."""
LZMA_DICTIONARY = 1 << 20


class PackedFileError(ValueError):
    """The packed file is damaged, cut short or of another format."""


def unpack(packed: bytes) -> bytes:
    """Return the bytes of the ONNX file.

    Raises:
        PackedFileError: the data is not a packed model, or any byte of it has changed.
    """
    start = len(MAGIC) + DIGEST_SIZE
    if packed[: len(MAGIC)] != MAGIC:
        raise PackedFileError("not a packed model of this version: its first bytes differ")
    digest, body = packed[len(MAGIC) : start], packed[start:]
    try:
        restored = _run(body)
    except (IndexError, KeyError, ValueError, OverflowError, MemoryError, lzma.LZMAError) as error:
        raise PackedFileError(f"the packed model is damaged: {error}") from error
    if hashlib.sha256(body + restored).digest() != digest:
        raise PackedFileError("the packed model is damaged: its SHA-256 digest does not match")
    return restored


def _run(body: bytes) -> bytes:
    outer = Reader(body, [])
    program = outer.stream()
    blobs = [outer.stream() for _ in range(outer.number())]
    reader = Reader(program, blobs)
    parts = []
    for _ in range(reader.number()):
        parts += [reader.blob(), reader.tensor()]
    return b"".join([*parts, reader.blob()])


def lzma_filters(layout: int, size: int) -> list[dict[str, int]]:
    """Return liblzma's filter chain for one of `LZMA_LAYOUTS` and a stream of `size` bytes."""
    lc, lp, pb = LZMA_LAYOUTS[layout]
    dictionary = min(max(size, 1 << 12), LZMA_DICTIONARY)
    preset = 9 | lzma.PRESET_EXTREME
    fixed = {"id": lzma.FILTER_LZMA1, "preset": preset, "dict_size": dictionary}
    return [{**fixed, "lc": lc, "lp": lp, "pb": pb}]


class Reader:
    """Reads a program: numbers, blobs, runs of symbols and tensors, each where the last ended."""

    def __init__(self, data: bytes, blobs: list[bytes]) -> None:
        self.data = data
        self.blobs = blobs[::-1]
        self.position = 0

    def number(self) -> int:
        """Read a non-negative integer, seven bits a byte, low bits first."""
        value = shift = 0
        while True:
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        if size > len(self.data) - self.position:
            raise IndexError(f"{size} bytes wanted beyond the end")
        self.position += size
        return self.data[self.position - size : self.position]

    def stream(self) -> bytes:
        """Read one stored (0) or LZMA-compressed (1 + layout) stream."""
        method, size = self.number(), self.number()
        data = self.take(size)
        if method == 0:
            return data
        return lzma.decompress(
            data, lzma.FORMAT_RAW, filters=lzma_filters(method - 1, LZMA_DICTIONARY)
        )

    def blob(self) -> bytes:
        """Read bytes that stand in the program, or that were set apart for their size (0)."""
        size = self.number()
        return self.take(size - 1) if size else self.blobs.pop()

    def floats(self) -> NDArray[np.float32]:
        """Read float32 values, themselves encoded as a tensor."""
        return np.frombuffer(self.tensor(), np.dtype("<f4"))

    def symbols(self) -> NDArray[np.int64]:
        """Read a run of symbols: all alike, bit-packed, a byte each, or entropy coded."""
        method, count = self.number(), self.number()
        if method == CONSTANT:
            return np.full(count, self.number(), np.int64)
        if method == BITS:
            return unpack_bits(self.blob(), count, self.number())
        if method == BYTES:
            return np.frombuffer(self.blob(), np.uint8).astype(np.int64)
        frequencies = np.frombuffer(self.blob(), np.dtype("<u2")).astype(np.int64)
        lanes = self.number()
        return entropy_decode(self.blob(), frequencies, lanes, count)

    def tensor(self) -> bytes:
        """Read the bytes of one tensor."""
        method = self.number()
        if method == RAW:
            return self.blob()
        if method == PLANES:
            planes = [self.symbols().astype(np.uint8) for _ in range(self.number())]
            return np.stack(planes, axis=1).tobytes()
        if method == TABLE:
            table = np.frombuffer(self.blob(), f"<u{self.number()}")
            return table[self.symbols()].tobytes()
        if method == SPARSE:
            mask = self.symbols().astype(bool)
            values = np.frombuffer(self.tensor(), f"<u{self.number()}")
            dense = np.zeros(mask.size, values.dtype)
            dense[mask] = values
            return dense.tobytes()
        if method == RANGE:
            first, negative, count = self.number(), self.number(), self.number()
            return (np.arange(count) + (-first if negative else first)).astype("<f4").tobytes()
        if method == CODED:
            return self._coded()
        raise ValueError(f"no tensor encoding has the number {method}")

    def _coded(self) -> bytes:
        rows, transposed = self.number(), self.number()
        levels, offset, factor = self.floats(), self.floats(), self.floats()
        indices = self.symbols().reshape(rows, -1)
        decoded = (levels[indices] - offset[:, None]) * factor[:, None]
        return (decoded.T if transposed else decoded).tobytes()


def unpack_bits(data: bytes, count: int, width: int) -> NDArray[np.int64]:
    """Return `count` integers of `width` bits each, highest bit first, without gaps."""
    if width == 8:
        return np.frombuffer(data, np.uint8).astype(np.int64)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width)
    weights = 1 << np.arange(width - 1, -1, -1, dtype=np.int64)
    return bits.reshape(count, width) @ weights


def entropy_decode(
    data: bytes, frequencies: NDArray[np.int64], lanes: int, count: int
) -> NDArray[np.int64]:
    """Return `count` symbols from interleaved range asymmetric numeral systems.

    `frequencies` sum to a power of two. Symbol i belongs to lane `i % lanes`, so that one numpy
    step decodes a symbol of every lane (Duda, 2013, arXiv:1311.2540; Giesen, 2014,
    arXiv:1402.3392).
    """
    total = int(frequencies.sum())
    precision = total.bit_length() - 1
    owner = np.repeat(np.arange(frequencies.size), frequencies)
    start = np.cumsum(frequencies) - frequencies
    state = np.frombuffer(data[: 4 * lanes], np.dtype("<u4")).astype(np.int64)
    words = np.frombuffer(data[4 * lanes :], np.dtype("<u2")).astype(np.int64)
    steps = -(-count // lanes)
    symbols = np.empty((steps, lanes), np.int64)
    position = 0
    for step in range(steps):
        slot = state & (total - 1)
        symbol = owner[slot]
        symbols[step] = symbol
        state = frequencies[symbol] * (state >> precision) + slot - start[symbol]
        low = np.flatnonzero(state < 1 << STATE_BITS)
        state[low] = (state[low] << STATE_BITS) | words[position : position + low.size]
        position += low.size
    return symbols.reshape(-1)[:count]


def main(arguments: list[str]) -> int:
    """Unpack the file named first into the file named second."""
    if len(arguments) != 2:
        print("usage: python unpack.py model.packed model.onnx", file=sys.stderr)
        return 2
    source, target = map(Path, arguments)
    try:
        target.write_bytes(unpack(source.read_bytes()))
    except (OSError, PackedFileError) as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
