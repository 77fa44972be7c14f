"""Rebuild model.onnx from model.packed: `python unpack.py model.packed model.onnx`.

This file stands alone (standard library, numpy, constriction, onnx), so that it can travel with a
packed model. The parts of a packed file are

    magic, version | digest | length of the program | program | graph | range-coded words

The graph is the ONNX file without the data of its initialisers, deflated. The program says how each
of these is stored, in order; all its symbols are in the words, which one range coder reads from
front to back. Probabilities are functions of integer counts, computed exactly, so that every
machine decodes the same.

An ONNX file that would be too large for one file of protobuf has its data in `model.onnx.data`
beside it, ONNX's external data: one tensor after the other, each from the next page on.

No file is trusted: every size is checked against the rest of `limit_bytes` before memory is
allocated, all work is linear in that limit, nothing is written outside the target's folder, and
every error raises `CorruptFileError`. A larger model takes a larger limit, named by the user:
`python unpack.py model.packed model.onnx 2000000000`.
"""

import filecmp
import hashlib
import math
import mmap
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import constriction
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

Array = NDArray[np.int64]
Buffer = bytes | memoryview

MAGIC = b"PDN\x02"
"""Three letters and the version of the format."""
DIGEST_SIZE = 16
LIMIT_BYTES = 1 << 29
"""Default size of the largest ONNX file, with its data, that is unpacked. Protobuf takes four times
as much; a larger file has its data beside it."""
DATA_FILE = "model.onnx.data"
"""Name of the file that holds the data of the initialisers that are not in the ONNX file."""
PAGE = 4096
"""The data of each tensor in that file begin at a multiple of it, so that it can be mapped."""
BLOCK = 1 << 16
CHUNK = 1 << 22
RAW, CONSTANT, RANGE, TABLE, MASKED, PLANES, NIBBLES, DEFLATE, CODED = range(9)
"""How an array is stored; see `Reader.array` and `Reader.tensor`."""
ADAPTIVE, CONTEXT = 0, 8
"""How symbols are coded, plus a boldness from 0 to 7; see `read_adaptive`, `read_in_context`."""
TRUST = "allow more only if you trust the file"
MAX_ALPHABET = 1 << 12
MAX_NESTING = 3
"""Arrays within arrays: the values of a mask within the factors of a code, say."""
ITEM_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes per value by the number of the ONNX data type; tensors of other types stay in the graph."""
MIN_TENSOR_BYTES = 16
"""Smaller tensors stay in the graph."""


class CorruptFileError(ValueError):
    """The packed file is damaged, cut short, of another format, or larger than allowed."""


def require(condition: bool, message: str) -> None:
    """Raise `CorruptFileError` unless a condition holds."""
    if not condition:
        raise CorruptFileError(message)


# The logistic domain: STRETCH of a probability in 1/65536 is its log-odds in 1/256, SQUASH the
# inverse. Rounding to integers makes the tables the same wherever exp is right to seven digits.
MAX_STRETCH = 2839
SQUASH: Array = np.array(
    [round(65536 / (1 + math.exp(-x / 256))) for x in range(-MAX_STRETCH, MAX_STRETCH + 1)],
    np.int64,
)
STRETCH: Array = (
    np.minimum(np.searchsorted(SQUASH, np.arange(65537)), 2 * MAX_STRETCH) - MAX_STRETCH
)
LEARNING_SHIFT = 18
ONE = 1 << 16


class RangeDecoder:
    """A range decoder (Martin, 1979) over little-endian 32-bit words."""

    def __init__(self, words: Buffer) -> None:
        aligned = np.empty(len(words) // 4, np.uint32)
        for start in range(0, len(aligned), CHUNK):
            chunk = words[4 * start : 4 * (start + CHUNK)]
            aligned[start : start + CHUNK] = np.frombuffer(chunk, "<u4")
            forget(chunk)
        self._decoder = constriction.stream.queue.RangeDecoder(aligned)
        self._bernoulli = constriction.stream.model.Bernoulli(perfect=False)

    def bits(self, probability: Array) -> Array:
        """Return the next bits `[m]`, under probabilities `[m]` of a 1 in 1/65536."""
        found = self._decoder.decode(self._bernoulli, probability / ONE)
        return np.asarray(found, np.int64)

    def symbols(self, weights: Array, count: int) -> Array:
        """Return the next symbols in [0, K), all with probabilities in proportion to `[K]`."""
        model = constriction.stream.model.Categorical(weights.astype(np.float64), perfect=False)
        found = np.asarray(self._decoder.decode(model, count), np.int64)
        require(int(found.max()) < len(weights), "words fit no symbol")
        return found


class Mixture:
    """One kind of yes-or-no decision, its probability mixed from the shares of several counts.

    The log-odds of the shares, and of what was expected of all of them, are added up under weights
    that follow the gradient of the code length (Mahoney, 2005, "Adaptive weighing of context models
    for lossless data compression"). A count that has seen little is drawn to what was expected.
    """

    def __init__(self, weights: tuple[float, ...], strengths: tuple[int, ...]) -> None:
        self._weights: Array = np.array([round(weight * ONE) for weight in weights], np.int64)
        self._strengths: Array = np.array(strengths, np.int64)[:, None]

    def odds(self, ones: Array, seen: Array, expected: Array | int) -> Array:
        """Return log-odds `[k + 1, m]`, given counts `[k, m]` of ones and of all.

        The expected share, in 1/65536, is one for all decisions or `[m]`.
        """
        odds = np.empty((len(self._weights), ones.shape[1]), np.int64)
        # For whole numbers below 2**52 the rounded quotient has the whole part of the exact one.
        shares = ((ones << 16) + self._strengths * expected) / (seen + self._strengths)
        odds[:-1] = STRETCH.take(shares.astype(np.int64), mode="clip")
        odds[-1] = STRETCH[expected]
        return odds

    def probability(self, odds: Array) -> Array:
        """Return the probabilities `[m]` of a 1, in 1/65536."""
        return SQUASH.take((self._weights @ odds >> 16) + MAX_STRETCH, mode="clip")

    def learn(self, odds: Array, bits: Array, probability: Array) -> None:
        """Take in what the bits `[m]` were."""
        self._weights += odds @ ((bits << 16) - probability) >> LEARNING_SHIFT


def zero_mixture() -> Mixture:
    """Return the mixture for the decisions which entries are not zero.

    Its counts are those of entries that are not zero: in the column, in the row, in the columns
    beside, and among entries with the same pattern of neighbours.
    """
    return Mixture((0.36, 0.38, 0.16, 0.5, -0.45), (3, 3, 3, 4))


def sign_mixture() -> Mixture:
    """Return the mixture for the decisions which entries are negative.

    Its counts are those of negative entries: with the same pattern of neighbours, in the column
    and in the row.
    """
    return Mixture((0.6, 0.25, 0.25, 0.0), (2, 4, 4))


TOTAL = 1, 20
"""Initial counts of entries that are not zero, and of all entries."""
ZERO_DIGITS = 1, 2, 4, 8, 16, 32
SIGN_DIGITS = 1, 3, 9, 27, 0, 0
"""Amounts that a neighbour that is not zero, and the sign of a neighbour, add to a pattern."""
ZERO_PATTERNS, SIGN_PATTERNS = 64, 81
NO_SIGNS = SIGN_PATTERNS // 2
"""The pattern of neighbours that are all zero."""


def neighbours(stride: int) -> tuple[tuple[int, int], ...]:
    """Return the numbers of rows and columns by which the neighbours of an entry precede it.

    Entries a stride apart are neighbours too: those of the next row of a kernel or of an image.
    """
    return (0, 1), (0, stride), (1, 0), (0, stride - 1), (0, 2), (0, stride + 1)


def beside(stride: int) -> tuple[int, ...]:
    """Return the numbers of columns by which the columns beside an entry follow its own."""
    return -1, 1, -stride, stride


# Both patterns in one integer, the signs above the six zeros: what an entry of sign -1, 0 or 1
# adds to it in each of its neighbours.
_CONTRIBUTIONS = np.multiply.outer(64 * np.array(SIGN_DIGITS), [-1, 0, 1]).astype(np.int16)
_CONTRIBUTIONS += np.multiply.outer(ZERO_DIGITS, [1, 0, 1]).astype(np.int16)


class SignMap:
    """Reads the signs -1, 0, 1 of a matrix `[R, N]`, one diagonal after the other.

    The entries of a diagonal are read at once, in the context of all entries to the left in the
    same row and above in the same column. `sign_decisions.py` is the writer's side.
    """

    def __init__(self, rows: int, columns: int, stride: int, *, signed: bool) -> None:
        self._shape = rows, columns
        self._signed = signed
        self._signs = np.zeros(rows * columns, np.int8)
        # Entries at the edges contribute to columns to the right and to a row below.
        pad = stride + 1
        self._width = columns + pad
        self._patterns = np.full((rows + 1) * self._width, 64 * NO_SIGNS, np.int16)
        self._followers = [down * self._width + right for down, right in neighbours(stride)]
        self._beside = beside(stride)
        self._row_index = np.arange(rows)
        # Entries that are not zero, and those of them that are negative. The last column is first,
        # so that the columns of a diagonal stand in the order of its rows.
        self._last_column = columns - 1 + pad
        self._rows = np.zeros((2, rows), np.int64)
        self._columns = np.zeros((2, columns + 2 * pad), np.int64)
        # How often a pattern had a zero and another entry, a positive and a negative.
        self._zero_places = np.zeros((ZERO_PATTERNS, 2), np.int64)
        self._sign_places = np.zeros((SIGN_PATTERNS, 2), np.int64)
        self._ones, self._seen = TOTAL
        self._zero_mixture = zero_mixture()
        self._sign_mixture = sign_mixture()

    def read(self, coder: RangeDecoder) -> NDArray[np.int8]:
        """Return the signs `[R, N]`, without a negative one where unsigned."""
        rows, columns = self._shape
        for diagonal in range(rows + columns - 1):
            first, last = max(0, diagonal - columns + 1), min(rows - 1, diagonal)
            self._read_diagonal(coder, diagonal, first, last)
        return self._signs.reshape(rows, columns)

    def _read_diagonal(self, coder: RangeDecoder, diagonal: int, first: int, last: int) -> None:
        step = self._width - 1
        start = diagonal + first * step
        reach = (last - first) * step + 1
        patterns = self._patterns[start : start + reach : step]
        row = slice(first, last + 1)
        before = self._last_column - diagonal
        column = slice(before + first, before + last + 1)
        signs = self._read_zeros(coder, diagonal, row, column, patterns & 63)
        chosen = signs.nonzero()[0]
        if self._signed and len(chosen):
            at = chosen + row.start, chosen + column.start
            signs[chosen] -= 2 * self._read_signs(coder, *at, patterns[chosen] >> 6)
        contributions = _CONTRIBUTIONS.take(signs + 1, axis=1)
        for follower, added in zip(self._followers, contributions, strict=True):
            self._patterns[start + follower : start + follower + reach : step] += added
        step = max(1, self._shape[1] - 1)
        start = diagonal + first * (self._shape[1] - 1)
        self._signs[start : start + (last - first) * step + 1 : step] = signs

    def _read_zeros(
        self,
        coder: RangeDecoder,
        diagonal: int,
        row: slice,
        column: slice,
        place: NDArray[np.int16],
    ) -> Array:
        """Read which entries of a diagonal are not zero."""
        of_place = self._zero_places.take(place, axis=0)
        above = self._row_index[row]
        in_rows, in_columns = self._rows[0, row], self._columns[0]
        ones, seen = np.empty((2, 4, len(place)), np.int64)
        ones[0], seen[0] = in_columns[column], above
        ones[1], seen[1] = in_rows, diagonal - above
        ones[2], seen[2] = 0, 4 * above
        for right in self._beside:
            ones[2] += in_columns[column.start - right : column.stop - right]
        ones[3], seen[3] = of_place[:, 1], of_place[:, 0] + of_place[:, 1]
        odds = self._zero_mixture.odds(ones, seen, (self._ones << 16) // self._seen)
        probability = self._zero_mixture.probability(odds)
        bits = coder.bits(probability)
        self._zero_mixture.learn(odds, bits, probability)
        self._zero_places += np.bincount(2 * place + bits, minlength=128).reshape(64, 2)
        in_rows += bits
        in_columns[column] += bits
        self._ones += int(np.count_nonzero(bits))
        self._seen += len(bits)
        return bits

    def _read_signs(
        self, coder: RangeDecoder, row: Array, column: Array, place: NDArray[np.int16]
    ) -> Array:
        """Read which of some entries of a diagonal are negative."""
        of_place = self._sign_places.take(place, axis=0)
        ones, seen = np.empty((2, 3, len(place)), np.int64)
        ones[0], seen[0] = of_place[:, 1], of_place[:, 0] + of_place[:, 1]
        ones[1], seen[1] = self._columns[1].take(column), self._columns[0].take(column) - 1
        ones[2], seen[2] = self._rows[1].take(row), self._rows[0].take(row) - 1
        odds = self._sign_mixture.odds(ones, seen, ONE // 2)
        probability = self._sign_mixture.probability(odds)
        negative = coder.bits(probability)
        self._sign_mixture.learn(odds, negative, probability)
        self._sign_places += np.bincount(2 * place + negative, minlength=162).reshape(81, 2)
        self._columns[1, column] += negative
        self._rows[1, row] += negative
        return negative


def blocks(count: int) -> Iterator[slice]:
    """Yield the blocks in which symbols are coded; they grow with the number of known symbols."""
    done = 0
    while done < count:
        block = min(max(16, done >> 4), count - done)
        yield slice(done, done + block)
        done += block


def read_adaptive(
    coder: RangeDecoder, count: int, alphabet: int, boldness: int
) -> NDArray[np.uint16]:
    """Read symbols in [0, alphabet) under the counts of those in the blocks before.

    A symbol not yet seen counts as `2**-boldness` of a symbol.
    """
    out = np.zeros(count, np.uint16)
    counts = np.zeros(alphabet, np.int64)
    for block in blocks(count) if alphabet > 1 else ():
        out[block] = coder.symbols((counts << boldness) + 1, block.stop - block.start)
        counts += np.bincount(out[block], minlength=alphabet)
    return out


class Frame(NamedTuple):
    """A matrix of symbols in which one symbol serves as zero."""

    rows: int
    columns: int
    stride: int
    zero: int
    alphabet: int
    boldness: int

    @property
    def reaches(self) -> tuple[tuple[int, int], ...]:
        """The directions -1 and 1 with the number of symbols on that side of zero, if not 0."""
        both = (-1, self.zero), (1, self.alphabet - 1 - self.zero)
        return tuple(pair for pair in both if pair[1])


def read_in_context(coder: RangeDecoder, frame: Frame) -> NDArray[np.uint16]:
    """Read a matrix of symbols `[R, N]`: which are below and above zero, then how far.

    The signs are coded in the context of their neighbours, the distances from zero under their
    counts, those below before those above. Where all lie to one side, their signs are 1.
    """
    signed = len(frame.reaches) == 2
    signs = SignMap(frame.rows, frame.columns, frame.stride, signed=signed).read(coder)
    out = np.full(signs.shape, frame.zero, np.uint16)
    for side, reach in frame.reaches:
        where = signs == (side if signed else 1)
        far = read_adaptive(coder, int(np.count_nonzero(where)), reach, frame.boldness)
        out[where] = frame.zero + side * (far.astype(np.int64) + 1)
    return out


class Reader:
    """Reads a program: numbers, symbols, arrays and tensors, each where the last one ended."""

    def __init__(self, program: Buffer, coder: RangeDecoder) -> None:
        self._program = program
        self._position = 0
        self._coder = coder

    def number(self, limit: int) -> int:
        """Read an integer in [0, limit]: seven bits a byte, low bits first."""
        value = shift = 0
        while shift < 64:
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            if byte < 128:
                require(value <= limit, f"a number is {value}, more than {limit}")
                return value
            shift += 7
        raise CorruptFileError("a number has too many digits")

    def take(self, size: int) -> Buffer:
        """Read `size` bytes."""
        require(size <= len(self._program) - self._position, "the program is cut short")
        self._position += size
        return self._program[self._position - size : self._position]

    def end(self) -> None:
        """Check that nothing is left."""
        require(self._position == len(self._program), "the program goes on after its end")

    def symbols(self, count: int, alphabet: int) -> NDArray[np.uint16]:
        """Read symbols `[count]` in [0, alphabet)."""
        method = self.number(CONTEXT + 7)
        boldness = method & 7
        if method < CONTEXT:
            return read_adaptive(self._coder, count, alphabet, boldness)
        transposed, rows = self.number(1), self.number(count)
        columns = count // max(rows, 1)
        require(rows * columns == count > 0, f"{count} symbols are not {rows} rows")
        require(fits_context(rows, columns), f"a matrix of {rows} x {columns} is too narrow")
        stride, zero = self.number(columns), self.number(alphabet - 1)
        require(stride > 0, "the stride is 0")
        frame = Frame(rows, columns, stride, zero, alphabet, boldness)
        found = read_in_context(self._coder, frame)
        return np.ascontiguousarray(found.T if transposed else found).reshape(-1)

    def array(self, count: int, size: int, nesting: int = 0) -> NDArray[Any]:
        """Read values of `size` bytes each, as unsigned integers `[count]`."""
        require(nesting <= MAX_NESTING, "arrays are nested too deeply")
        kind = np.dtype(f"<u{size}")
        method = self.number(DEFLATE)
        if method == RAW:
            return np.frombuffer(self.take(count * size), kind)
        if method == CONSTANT:
            return np.full(count, np.frombuffer(self.take(size), kind)[0])
        if method == RANGE:
            return self._range(count, size)
        if method == TABLE:
            alphabet = self.number(MAX_ALPHABET)
            require(alphabet > 0, "a table is empty")
            table = self.array(alphabet, size, nesting + 1)
            return np.take(table, self.symbols(count, alphabet))
        if method == MASKED:
            mask = self.symbols(count, 2) != 0
            dense = np.zeros(count, kind)
            dense[mask] = self.array(int(np.count_nonzero(mask)), size, nesting + 1)
            return dense
        if method == PLANES:
            planes = np.empty((count, size), np.uint8)
            for plane in range(size):
                planes[:, plane] = self.symbols(count, 256)
            return planes.reshape(-1).view(kind)
        if method == NIBBLES:
            pairs = self.symbols(2 * count * size, 16).astype(np.uint8).reshape(-1, 2)
            return (pairs[:, 0] | pairs[:, 1] << 4).view(kind)
        length = self.number(len(self._program))
        content, rest = inflate(self.take(length), count * size)
        require(len(content) == count * size and not rest, "deflated values are cut short")
        return np.frombuffer(content, kind)

    def _range(self, count: int, size: int) -> NDArray[Any]:
        """Read consecutive whole numbers as float32."""
        require(size == 4, "a range is of float32")
        negative, first = self.number(1), self.number(1 << 20)
        whole = np.arange(count, dtype=np.int64) + (-first if negative else first)
        return whole.astype("<f4").view("<u4")

    def floats(self, count: int) -> NDArray[np.float32]:
        """Read float32 values `[count]`."""
        return self.array(count, 4, 1).view("<f4")

    def tensor(self, count: int, size: int) -> Buffer:
        """Read the bytes of a tensor of `count` values of `size` bytes each."""
        if self._program[self._position : self._position + 1] != bytes([CODED]):
            return as_bytes(self.array(count, size))
        self.number(CODED)
        require(size == 4, "a code is of float32")
        return as_bytes(self._coded(count))

    def _coded(self, count: int) -> NDArray[np.float32]:
        """Read levels, an offset and a factor for each group of a row, and the indices."""
        transposed, rows = self.number(1), self.number(count)
        columns = count // max(rows, 1)
        require(rows * columns == count > 0, f"{count} values are not {rows} rows")
        group = self.number(columns) or columns
        groups = -(-columns // group)
        alphabet = self.number(MAX_ALPHABET)
        require(alphabet > 0, "a table is empty")
        levels = self.floats(alphabet)
        offset, factor = (self.floats(rows * groups).reshape(rows, groups) for _ in range(2))
        values = np.take(levels, self.symbols(count, alphabet)).reshape(rows, columns)
        for start in range(groups):
            part = values[:, start * group : (start + 1) * group]
            part -= offset[:, start : start + 1]
            part *= factor[:, start : start + 1]
        return values.T if transposed else values


def as_bytes(values: NDArray[Any]) -> memoryview:
    """Return the bytes of an array, in C order, copied only where they are not in that order."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def inflate(data: Buffer, limit: int, dictionary: bytes = b"") -> tuple[bytes, Buffer]:
    """Return a deflated stream's content, of at most `limit` bytes, and what follows the stream."""
    stream = zlib.decompressobj(-15, dictionary)
    content, taken = bytearray(), 0
    while not stream.eof and taken < len(data) and len(content) <= limit:
        block = data[taken : taken + BLOCK]
        content += stream.decompress(block, limit + 1 - len(content))
        taken += len(block)
    require(stream.eof and len(content) <= limit, "a deflated stream is cut short or too long")
    return bytes(content), data[taken - len(stream.unused_data) :]


def fields(message: Buffer) -> Iterator[tuple[int, Buffer, Buffer]]:
    """Yield number, whole encoding and content of each field of a serialised protobuf message."""
    position = 0
    while position < len(message):
        start = position
        tag, position = read_varint(message, position)
        if tag & 7 == 0:
            content_start = position
            _, position = read_varint(message, position)
        elif tag & 7 == 2:
            size, content_start = read_varint(message, position)
            position = content_start + size
        else:
            require(tag & 7 in (1, 5), "the graph is not a protobuf message")
            content_start, position = position, position + (8 if tag & 7 == 1 else 4)
        require(position <= len(message), "the graph is cut short")
        yield tag >> 3, message[start:position], message[content_start:position]


def read_varint(data: Buffer, position: int) -> tuple[int, int]:
    """Return the integer at a position and where the next field begins."""
    value = 0
    for shift, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    raise CorruptFileError("the graph is cut short")


def field(number: int, content: bytes) -> bytes:
    """Return the encoding of a field of bytes."""
    return head(number, len(content)) + content


def head(number: int, size: int) -> bytes:
    """Return what precedes the content of a field of so many bytes."""
    return varint(number << 3 | 2) + varint(size)


def varint(value: int) -> bytes:
    """Return a non-negative integer as seven bits a byte, low bits first."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


Attribute = int | bytes | tuple[int, ...]
ONES: dict[str, Attribute] = {"dilations": (1, 1)}
TYPICAL_NODES: tuple[tuple[str, int, int, dict[str, Attribute]], ...] = (
    ("ConstantOfShape", 1, 1, {}),
    ("ReduceMean", 1, 1, {"axes": (2, 3), "keepdims": 0}),
    ("LSTM", 7, 3, {"direction": b"bidirectional", "hidden_size": 16}),
    ("DynamicQuantizeLSTM", 12, 3, {"direction": b"forward", "hidden_size": 16, "input_forget": 0}),
    ("GRU", 6, 2, {"hidden_size": 16, "linear_before_reset": 1}),
    ("Squeeze", 2, 1, {}),
    ("Slice", 4, 1, {}),
    ("Shape", 1, 1, {}),
    ("Unsqueeze", 2, 1, {}),
    ("Concat", 3, 1, {"axis": 0}),
    ("Reshape", 2, 1, {}),
    ("Gather", 2, 1, {}),
    ("MatMul", 2, 1, {}),
    ("LayerNormalization", 3, 1, {}),
    ("Transpose", 1, 1, {"perm": (3, 1, 2, 0, 4)}),
    ("Transpose", 1, 1, {"perm": (0, 1, 3, 2)}),
    ("Transpose", 1, 1, {"perm": (1, 0, 2)}),
    ("Sqrt", 1, 1, {}),
    ("Softmax", 1, 1, {}),
    ("Erf", 1, 1, {}),
    ("Div", 2, 1, {}),
    ("MatMulNBits", 4, 1, {"K": 64, "N": 64, "accuracy_level": 4, "bits": 4, "block_size": 32}),
    ("DynamicQuantizeLinear", 1, 3, {}),
    ("MatMulInteger", 4, 1, {}),
    ("Cast", 1, 1, {"to": 1}),
    ("Mul", 2, 1, {}),
    ("Sigmoid", 1, 1, {}),
    ("Tanh", 1, 1, {}),
    ("HardSwish", 1, 1, {}),
    ("QuantizeLinear", 3, 1, {}),
    ("DequantizeLinear", 3, 1, {"axis": 0}),
    ("Clip", 3, 1, {}),
    ("GlobalAveragePool", 1, 1, {}),
    ("Conv", 3, 1, {**ONES, "kernel_shape": (1, 1), "pads": (0, 0, 0, 0), "strides": (2, 2)}),
    ("Conv", 3, 1, {**ONES, "kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "strides": (1, 1)}),
    ("Conv", 3, 1, {**ONES, "kernel_shape": (5, 5), "pads": (0, 0, 0, 0), "strides": (1, 1)}),
    ("MaxPool", 1, 1, {**ONES, "kernel_shape": (2, 2), "pads": (0, 0, 0, 0), "strides": (2, 2)}),
    ("Add", 2, 1, {}),
    ("Relu", 1, 1, {}),
    ("Flatten", 1, 1, {}),
    ("Gemm", 3, 1, {"transB": 1}),
    ("Relu", 1, 1, {}),
    ("Gemm", 3, 1, {"transB": 1}),
)
"""Operators, numbers of inputs and outputs, attributes; from the rarest to the most frequent."""


def _attribute(name: str, value: Attribute) -> bytes:
    """Return a field of NodeProto: an AttributeProto of an integer, a string or integers."""
    if isinstance(value, bytes):
        content, kind = field(4, value), 3
    elif isinstance(value, tuple):
        content, kind = b"".join(bytes([0x40, number]) for number in value), 7
    else:
        content, kind = bytes([0x18, value]), 2
    return field(5, field(1, name.encode()) + content + bytes([0xA0, 0x01, kind]))


def _node(
    operator: str, names: list[bytes], inputs: int, attributes: dict[str, Attribute]
) -> bytes:
    """Return a field of GraphProto: a NodeProto whose names are its inputs, then its outputs."""
    content = b"".join(field(1 if place < inputs else 2, name) for place, name in enumerate(names))
    content += field(4, operator.encode())
    return field(1, content + b"".join(_attribute(*item) for item in attributes.items()))


def _sizes(dims: tuple[int, ...]) -> Iterator[bytes]:
    return (b"\x08" + varint(size) for size in dims)


def _ending(number: int, name: bytes, dims: tuple[int, ...]) -> bytes:
    """Return a field of GraphProto: a ValueInfoProto of floats, the first axis free."""
    shape = b"".join(field(1, size) for size in (field(2, b"batch"), *_sizes(dims)))
    return field(number, field(1, name) + field(2, field(1, b"\x08\x01" + field(2, shape))))


def _dictionary() -> bytes:
    """Return the typical parts of a graph, for the compressor to refer to: a made-up ONNX file."""
    letters = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" * 4)
    graph, tensors, last = b"", b"", b"input"
    for operator, inputs, outputs, attributes in TYPICAL_NODES:
        names = [last, *(next(letters).encode() for _ in range(inputs + outputs - 1))]
        graph += _node(operator, names, inputs, attributes)
        last = names[inputs]
        for name in names[1:inputs]:
            tensors += field(5, b"\x08\x01\x10\x07" + field(8, name) + field(9, bytes(8)))
    for dims in ((64, 16, 3, 3), (20, 1, 5, 5), (300, 100), (64, 64), (64,), (10, 100), (10,)):
        named = b"\x10\x01" + field(8, next(letters).encode())
        tensors += field(5, b"".join(_sizes(dims)) + named)
    graph += _node("Gemm", [last, b"output"], 1, {"transB": 1}) + field(2, b"g") + tensors
    graph += _ending(11, b"input", (3, 32, 32)) + _ending(11, b"input", (1, 28, 28))
    graph += _ending(12, b"output", (10,))
    contrib = field(7, b"com.microsoft") + field(8, field(1, b"com.microsoft") + b"\x10\x01")
    return contrib + b"\x08\x08\x3a\xa7\x02" + graph + b"B\x02\x10\x11"


GRAPH, INITIALISER, RAW_DATA = 7, 5, 9
"""Numbers of the fields in ModelProto, GraphProto and TensorProto."""
DIMS, DATA_TYPE, NAME, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 13, 14


DICTIONARY = _dictionary()


class Stored(NamedTuple):
    """What is known of the data that a serialised initialiser lacks."""

    values: int
    """Number of values."""
    item: int
    """Bytes of a value."""
    offset: int | None
    """Where the data begin in the data file; None for data in the ONNX file."""

    @property
    def size(self) -> int:
        """The bytes of all values."""
        return self.values * self.item


def stored(tensor: Buffer) -> Stored | None:
    """Return what a serialised initialiser lacks; None for one that is complete, or is small.

    Raises:
        CorruptFileError: Its data are in a file, but not in their place in `DATA_FILE`.
    """
    count, item, outside, entries = 1, 0, False, {}
    for number, _, content in fields(tensor):
        if number == DIMS:
            count *= read_varint(content, 0)[0]
            require(count < 1 << 48, "a tensor is too large")
        elif number == DATA_TYPE:
            item = ITEM_SIZES.get(read_varint(content, 0)[0], 0)
        elif number == DATA_LOCATION:
            outside = read_varint(content, 0)[0] == 1
        elif number == EXTERNAL_DATA:
            pair = {key: bytes(value) for key, _, value in fields(content)}
            entries[pair.get(1)] = pair.get(2)
        elif number != NAME:
            return None
    if not outside:
        found = Stored(count, item, None)
        return found if not entries and found.size >= MIN_TENSOR_BYTES else None
    offset = entries.get(b"offset") or b""
    require(offset.isdigit() and len(offset) < 16, "a tensor has no place in the data file")
    wanted = {b"location": DATA_FILE.encode(), b"offset": offset, b"length": b"%d" % (count * item)}
    require(entries == wanted and count * item > 0, "a tensor is in no known data file")
    return Stored(count, item, int(offset))


class Piece(NamedTuple):
    """A piece of what is unpacked; the pieces of a file, joined, are the file."""

    content: Buffer
    outside: bool = False
    """True for the data file, False for the ONNX file."""


class Seal:
    """The digest of a packed body and of what it restores."""

    def __init__(self, *body: Buffer) -> None:
        self._model, self._data, self._outside = hashlib.sha256(), hashlib.sha256(), False
        for part in body:
            self.add(Piece(part))

    def add(self, piece: Piece) -> None:
        """Take in the next piece."""
        self._outside |= piece.outside
        whole = self._data if piece.outside else self._model
        for start in range(0, len(piece.content), CHUNK):
            chunk = piece.content[start : start + CHUNK]
            whole.update(chunk)
            forget(chunk)

    def value(self) -> bytes:
        """Return the first 16 bytes of the SHA-256 of both files, or of the ONNX file alone."""
        whole = self._model
        if self._outside:
            whole = hashlib.sha256(whole.digest() + self._data.digest())
        return whole.digest()[:DIGEST_SIZE]


@contextmanager
def damage_refused() -> Iterator[None]:
    """Raise `CorruptFileError` for what libraries raise on damaged data."""
    try:
        with np.errstate(all="ignore"):
            yield
    except CorruptFileError:
        raise
    # constriction raises AssertionError where words fit no symbol, numpy and zlib the others.
    except (AssertionError, ValueError, MemoryError, zlib.error) as error:
        raise CorruptFileError(f"the packed model is damaged: {error}") from error


class Packed:
    """A packed file, of which the graph is read and the data of its tensors are not yet.

    Args:
        packed: The content of the file.
        limit_bytes: Size of the largest ONNX file, with its data file, that is accepted.

    Raises:
        CorruptFileError: The data are not a packed model, or damaged.
    """

    def __init__(self, packed: Buffer, limit_bytes: int = LIMIT_BYTES) -> None:
        start = len(MAGIC) + DIGEST_SIZE
        magic = bytes(packed[:4])
        require(magic[:3] == MAGIC[:3], "not a packed model: its first bytes differ")
        require(magic == MAGIC, f"packed in version {magic[3:4].hex()} of the format, not 02")
        self._digest = bytes(packed[len(MAGIC) : start])
        self._body = memoryview(packed)[start:]
        self._limit, self._planned, self._written = limit_bytes, 0, 0
        with damage_refused():
            self.graph, self._reader = self._open()
        self._left = limit_bytes - len(self.graph)

    def _open(self) -> tuple[bytes, Reader]:
        size, start = read_varint(self._body, 0)
        require(size <= len(self._body) - start, "the program is cut short")
        graph, words = inflate(self._body[start + size :], self._limit, DICTIONARY)
        require(len(words) % 4 == 0, "the words are cut short")
        program = bytes(self._body[start : start + size])
        return graph, Reader(program, RangeDecoder(words))

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces of the files, once; what is yielded holds only if none raises.

        Raises:
            CorruptFileError: The file is damaged, or unpacks to more than the limit.
        """
        seal = Seal(self._body)
        for piece in self._restored():
            seal.add(piece)
            yield piece
        require(seal.value() == self._digest, "the digest does not match")

    def _restored(self) -> Iterator[Piece]:
        for number, whole, content in fields(self.graph):
            if number == GRAPH:
                yield from self._graph(content)
            else:
                yield Piece(whole)
        self._reader.end()

    def _graph(self, graph: Buffer) -> Iterator[Piece]:
        """Yield a graph with its data, whose sizes are checked before any are read."""
        yield Piece(head(GRAPH, sum(self._checked_size(*found) for found in fields(graph))))
        for number, whole, content in fields(graph):
            lacking = stored(content) if number == INITIALISER else None
            if lacking is None:
                yield Piece(whole)
                continue
            yield Piece(whole if lacking.offset is not None else with_head(content, lacking))
            yield from self._data(lacking)

    def _checked_size(self, number: int, whole: Buffer, content: Buffer) -> int:
        """Return the bytes of a field of the graph in the ONNX file, with its data."""
        lacking = stored(content) if number == INITIALISER else None
        if lacking is None:
            return len(whole)
        self._left -= lacking.size
        if lacking.offset is not None:
            self._left -= self._gap(lacking.offset)
            self._planned = lacking.offset + lacking.size
        require(self._left >= 0, f"it unpacks to more than limit_bytes={self._limit}; {TRUST}")
        inside = lacking.offset is None
        return len(with_head(content, lacking)) + lacking.size if inside else len(whole)

    def _gap(self, offset: int) -> int:
        """Return the bytes from the end of the data so far to the next tensor's place."""
        gap = -self._planned % PAGE
        require(offset == self._planned + gap, "a tensor is not in its place in the data file")
        return gap

    def _data(self, lacking: Stored) -> Iterator[Piece]:
        with damage_refused():
            data = self._reader.tensor(lacking.values, lacking.item)
        if lacking.offset is not None:
            yield Piece(bytes(lacking.offset - self._written), outside=True)
            self._written = lacking.offset + lacking.size
        yield Piece(data, outside=lacking.offset is not None)


def with_head(tensor: Buffer, lacking: Stored) -> bytes:
    """Return the field of an initialiser whose data are in the ONNX file, up to its data."""
    raw = head(RAW_DATA, lacking.size)
    size = len(tensor) + len(raw) + lacking.size
    return head(INITIALISER, size) + bytes(tensor) + raw


def unpack(packed: Buffer, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Return the bytes of the ONNX file, without those of a data file beside it.

    For any data, this takes at most about eight times `limit_bytes` of memory beside that of the
    libraries, and time linear in `limit_bytes`.

    Args:
        packed: The content of a packed file.
        limit_bytes: Size of the largest ONNX file, with its data file, that is accepted.

    Raises:
        CorruptFileError: The data are not a packed model, a byte of them has changed, or they
            unpack to more than `limit_bytes`.
    """
    restored = BytesIO()
    for content, outside in Packed(packed, limit_bytes).pieces():
        if not outside:
            restored.write(content)
    return restored.getvalue()


def fits_context(rows: int, columns: int) -> bool:
    """Return whether a matrix may be coded in context.

    The work is one step per diagonal: a long and narrow matrix would take a step for every few
    values.
    """
    return rows + columns <= 1024 + rows * columns // 64


def main(arguments: list[str]) -> int:
    """Unpack the file named first into the file named second, once ONNX can read it.

    A third argument is the largest size that is accepted, in bytes.
    """
    if len(arguments) not in (2, 3) or not all(word.isdigit() for word in arguments[2:]):
        print("usage: python unpack.py model.packed model.onnx [limit_bytes]", file=sys.stderr)
        return 2
    source, target = map(Path, arguments[:2])
    try:
        unpack_file(source, target, *map(int, arguments[2:]))
    except (OSError, CorruptFileError) as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 1
    return 0


def unpack_file(source: Path, target: Path, limit_bytes: int = LIMIT_BYTES) -> int:
    """Write the ONNX file of a packed file, checked to be one, and its data file if it has one.

    Returns the number of bytes written.

    The data file is written beside the target under the name that the ONNX file gives it; another
    file of that name is left as it is.

    Raises:
        CorruptFileError: As in `unpack`, or the content is not an ONNX model.
        OSError: A file cannot be read or written, or another data file is in the way.
    """
    if target.name == DATA_FILE:
        raise FileExistsError(f"{target} is the name of a data file: choose another name")
    if target.exists() and target.samefile(source):
        raise FileExistsError(f"{target} is the packed file itself: choose another name")
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{target} is no file: choose another name")
    with mapped(source) as content:
        packed = Packed(content, limit_bytes)
        try:
            onnx.load_model_from_string(packed.graph)
        except DecodeError as error:
            raise CorruptFileError(f"the packed file holds no ONNX model: {error}") from error
        return _write(packed, target)


def _write(packed: Packed, target: Path) -> int:
    """Write both files of a packed file; neither appears before all of both is right."""
    beside = target.with_name(DATA_FILE)
    parts = [path.with_name(f"{path.name}.{os.getpid()}.part") for path in (target, beside)]
    try:
        with parts[0].open("wb") as model, parts[1].open("wb") as data:
            for content, outside in packed.pieces():
                (data if outside else model).write(content)
        written = sum(part.stat().st_size for part in parts)
        if parts[1].stat().st_size:
            if beside.exists() and not filecmp.cmp(parts[1], beside, shallow=False):
                raise FileExistsError(f"{beside} is of another model: unpack into another folder")
            parts[1].replace(beside)
        parts[0].replace(target)
        return written
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def forget(content: Buffer) -> None:
    """Let a mapped file go from memory; what is read of it again is read from the disk."""
    source = getattr(content, "obj", None)
    if isinstance(source, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        source.madvise(mmap.MADV_DONTNEED)


@contextmanager
def mapped(path: Path) -> Iterator[Buffer]:
    """Map a file for reading: its content is in memory only where it is read."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            yield b""
            return
        yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
