"""Write numbers, blobs and runs of symbols for a packed file, each in its smallest form."""

import lzma

import numpy as np
from numpy.typing import NDArray

from search.packed_form.unpack import (
    BITS,
    BYTES,
    CONSTANT,
    ENTROPY,
    LZMA_LAYOUTS,
    STATE_BITS,
    lzma_filters,
)

INLINE_LIMIT = 256
"""Blobs below this many bytes stand in the program; larger ones are compressed on their own."""
SAMPLE = 1 << 16
"""Bytes on which LZMA is tried before all of a longer stream is given to it."""
SYMBOLS = 0
"""The layout of LZMA for a symbol a byte."""
MAX_BYTE_ALPHABET = 256
PRECISION = 14
"""Symbol frequencies sum to 2**14."""
MAX_ALPHABET = 1 << 12
"""Larger alphabets are bit-packed, since a table of their frequencies would not pay."""
BYTES_PER_LANE = 256
STEPS = 4096
"""A lane of the entropy coder costs three bytes. There is one for every 256 bytes, which it
lengthens by 1 %, and more where decoding would take over 4,096 steps."""
LANE_COST = 3


class Writer:
    """A program under construction and the large blobs that it refers to, in order."""

    def __init__(self) -> None:
        self._program = bytearray()
        self._blobs: list[bytes] = []

    @property
    def size(self) -> int:
        """The bytes written so far, the program not yet compressed."""
        return len(self._program) + sum(map(len, self._blobs))

    def number(self, value: int) -> None:
        """Write a non-negative integer, seven bits a byte, low bits first."""
        self._program += _number(value)

    def blob(self, data: bytes, *, dense: bool = False) -> None:
        """Write bytes, in the program where they are few; `dense` ones are not compressed."""
        if len(data) < INLINE_LIMIT:
            self._program += _number(len(data) + 1) + data
        else:
            self._program += _number(0)
            self._blobs.append(_stored(0, data) if dense else _stream(data))

    def extend(self, other: "Writer") -> None:
        """Append all that another writer holds."""
        self._program += other._program
        self._blobs += other._blobs

    def symbols(self, values: NDArray[np.int64], alphabet: int) -> None:
        """Write integers in [0, alphabet) as a constant, packed bits, bytes or entropy coded."""
        counts = np.bincount(values, minlength=alphabet)
        if np.count_nonzero(counts) <= 1:
            for number in (CONSTANT, values.size, int(counts.argmax())):
                self.number(number)
            return
        width = (alphabet - 1).bit_length()
        sizes = {BITS: values.size * width / 8}
        if alphabet <= MAX_ALPHABET:
            table = 2 * np.count_nonzero(counts)
            sizes[ENTROPY] = table + _information(counts) + LANE_COST * _lanes(counts)
        if alphabet <= MAX_BYTE_ALPHABET:
            head = values[:SAMPLE].astype(np.uint8).tobytes()
            sizes[BYTES] = len(_compress(head, SYMBOLS)) / len(head) * values.size
        best = min(sizes, key=lambda method: sizes[method])
        self.number(best)
        self.number(values.size)
        if best == BITS:
            self.blob(pack_bits(values, width), dense=True)
            self.number(width)
        elif best == BYTES:
            self.blob(values.astype(np.uint8).tobytes())
        else:
            self._entropy_coded(values, counts)

    def _entropy_coded(self, values: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        frequencies = scale_frequencies(counts)
        lanes = _lanes(counts)
        self.blob(frequencies.astype("<u2").tobytes())
        self.number(lanes)
        self.blob(entropy_encode(values, frequencies, lanes), dense=True)

    def finish(self) -> bytes:
        """Return the compressed program, the number of blobs and the blobs."""
        return _stream(bytes(self._program)) + _number(len(self._blobs)) + b"".join(self._blobs)


def _number(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _information(counts: NDArray[np.int64]) -> float:
    """Return the bytes that symbols with these counts need at least."""
    used = counts[counts > 0]
    return float(used @ np.log2(used.sum() / used)) / 8


def _lanes(counts: NDArray[np.int64]) -> int:
    return 1 + max(int(_information(counts)) // BYTES_PER_LANE, int(counts.sum()) // STEPS)


def _stream(data: bytes) -> bytes:
    """Return data stored, or compressed with the best layout where that pays."""
    head = data[:SAMPLE]
    tried = [_compress(head, layout) for layout in range(len(LZMA_LAYOUTS))]
    layout = min(range(len(tried)), key=lambda number: len(tried[number]))
    if len(tried[layout]) >= 0.99 * len(head):
        return _stored(0, data)
    whole = tried[layout] if len(data) <= SAMPLE else _compress(data, layout)
    return _stored(1 + layout, whole)


def _stored(method: int, data: bytes) -> bytes:
    return _number(method) + _number(len(data)) + data


def _compress(data: bytes, layout: int) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=lzma_filters(layout, len(data)))


def pack_bits(values: NDArray[np.int64], width: int) -> bytes:
    """Return integers in [0, 2**width) as `width` bits each, highest bit first, without gaps."""
    if width == 8:
        return values.astype(np.uint8).tobytes()
    bits = np.empty((values.size, width), np.uint8)
    for place in range(width):
        bits[:, place] = (values >> (width - 1 - place)) & 1
    return np.packbits(bits).tobytes()


def scale_frequencies(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return counts scaled to sum to `2**PRECISION`, at least 1 for each symbol that occurs."""
    total = 1 << PRECISION
    scaled: NDArray[np.int64] = np.rint(counts * (total / counts.sum())).astype(np.int64)
    scaled[(counts > 0) & (scaled == 0)] = 1
    excess = int(scaled.sum()) - total
    while excess != 0:
        largest = int(scaled.argmax())
        step = min(excess, int(scaled[largest]) // 2) if excess > 0 else excess
        scaled[largest] -= step
        excess -= step
    return scaled


def entropy_encode(values: NDArray[np.int64], frequencies: NDArray[np.int64], lanes: int) -> bytes:
    """Return what `unpack.entropy_decode` turns back into `values`.

    Encoding runs from the last symbol to the first, decoding forwards (Duda, 2013,
    arXiv:1311.2540). The states come first, then the words in the order of reading.
    """
    precision = int(frequencies.sum()).bit_length() - 1
    start = np.cumsum(frequencies) - frequencies
    steps = -(-values.size // lanes)
    padded = np.full(steps * lanes, int(frequencies.argmax()), np.int64)
    padded[: values.size] = values
    state = np.full(lanes, 1 << STATE_BITS, np.int64)
    words: list[NDArray[np.int64]] = []
    for symbol in padded.reshape(steps, lanes)[::-1]:
        frequency = frequencies[symbol]
        full = np.flatnonzero(state >= frequency << (2 * STATE_BITS - precision))
        words.append(state[full] & 0xFFFF)
        state[full] >>= STATE_BITS
        quotient, remainder = np.divmod(state, frequency)
        state = (quotient << precision) + remainder + start[symbol]
    tail = np.concatenate(words[::-1]) if words else np.empty(0, np.int64)
    return state.astype("<u4").tobytes() + tail.astype("<u2").tobytes()
