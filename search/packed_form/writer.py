"""Write numbers and symbols of a packed file, each in the smallest of its forms."""

from collections.abc import Callable
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from search.packed_form.unpack import (
    ADAPTIVE,
    CONTEXT,
    ONE,
    Array,
    Frame,
    code_adaptive,
    code_in_context,
    fits_context,
    varint,
)

MAX_CONTEXT_SYMBOLS = 1 << 24
"""Larger matrices are not coded in context, which takes half a microsecond a symbol."""
DENSE_CONTEXT_SYMBOLS = 1 << 16
"""Nor are ones larger than this with few zeros, which have little context to gain from."""
MIN_ZEROS = 0.25
MAX_STRIDE = 64
EXACT_SYMBOLS = 1 << 16
"""Up to here every boldness is tried."""


class RangeEncoder:
    """The writer's coder: encodes what it is given, and knows the bits that it took."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()
        self._bernoulli = constriction.stream.model.Bernoulli(perfect=False)
        self.information = 0.0
        """Bits: minus the logarithm of the probability of all that was encoded."""

    def fork(self) -> "RangeEncoder":
        """Return a coder that goes on from here on its own."""
        other = RangeEncoder()
        other._encoder = self._encoder.clone()
        other.information = self.information
        return other

    def bits(self, probability: Array, given: Array | None) -> Array:
        """Encode bits `[m]` under probabilities `[m]` of a 1, in 1/65536."""
        assert given is not None
        self._encoder.encode(given.astype(np.int32), self._bernoulli, probability / ONE)
        likelihood = np.where(given != 0, probability, ONE - probability) / ONE
        self.information -= float(np.log2(likelihood).sum())
        return given

    def symbols(self, weights: Array, count: int, given: NDArray[Any] | None) -> NDArray[Any]:
        """Encode symbols, all with probabilities in proportion to weights `[K]`."""
        assert given is not None
        assert len(given) == count
        model = constriction.stream.model.Categorical(weights.astype(np.float64), perfect=False)
        self._encoder.encode(given.astype(np.int32), model)
        self.information -= float(np.log2(weights / weights.sum())[given].sum())
        return given

    def words(self) -> bytes:
        """Return what was encoded, as little-endian words."""
        return bytes(self._encoder.get_compressed().astype("<u4").tobytes())


class Writer:
    """A program under construction and the coder that its symbols go to."""

    def __init__(self) -> None:
        self.program = bytearray()
        self.coder = RangeEncoder()

    @property
    def size(self) -> float:
        """The bytes of all that was written so far."""
        return len(self.program) + self.coder.information / 8

    def number(self, value: int) -> None:
        """Write a non-negative integer, seven bits a byte, low bits first."""
        self.program += varint(value)

    def smallest(self, ways: list[Callable[["Writer"], None]]) -> None:
        """Write in the one of several ways that takes the fewest bytes, the first where equal."""
        forks = []
        for way in ways:
            fork = Writer()
            fork.program, fork.coder = bytearray(self.program), self.coder.fork()
            way(fork)
            forks.append(fork)
        best = min(forks, key=lambda fork: fork.size)
        self.program, self.coder = best.program, best.coder

    def symbols(self, matrix: NDArray[Any], alphabet: int) -> None:
        """Write a matrix `[R, N]` of integers in [0, alphabet), or a vector of them."""
        flat = matrix.reshape(-1)
        ways = [_adaptive(flat, alphabet, boldness) for boldness in _boldness(flat, alphabet)]
        frame = _frame(matrix, alphabet) if matrix.ndim == 2 else None
        if frame is not None:
            ways.append(_in_context(matrix, *frame))
        if len(ways) == 1:
            ways[0](self)
        else:
            self.smallest(ways)


def _boldness(symbols: NDArray[Any], alphabet: int) -> tuple[int, ...]:
    return (0,) if symbols.size > EXACT_SYMBOLS or alphabet <= 2 else (0, 2, 4)


def _adaptive(flat: NDArray[Any], alphabet: int, boldness: int) -> Callable[[Writer], None]:
    def write(writer: Writer) -> None:
        writer.number(ADAPTIVE + boldness)
        code_adaptive(writer.coder, flat.size, alphabet, boldness, flat)

    return write


def _in_context(matrix: NDArray[Any], frame: Frame, transposed: bool) -> Callable[[Writer], None]:
    def write(writer: Writer) -> None:
        writer.number(CONTEXT + frame.boldness)
        for number in (int(transposed), frame.rows, frame.stride, frame.zero):
            writer.number(number)
        code_in_context(writer.coder, frame, matrix.T if transposed else matrix)

    return write


def _frame(matrix: NDArray[Any], alphabet: int) -> tuple[Frame, bool] | None:
    """Return how to code a matrix in context and whether transposed, None where it cannot pay."""
    rows, columns = matrix.shape
    counts = np.bincount(matrix.reshape(-1), minlength=alphabet)
    zero = int(counts.argmax())
    kept = matrix.size - int(counts[zero])
    limit = DENSE_CONTEXT_SYMBOLS if kept > (1 - MIN_ZEROS) * matrix.size else MAX_CONTEXT_SYMBOLS
    if kept == 0 or matrix.size > limit or not fits_context(rows, columns):
        return None
    mask = matrix != zero
    strides = [_stride(mask), _stride(mask.T)]
    transposed = strides[1][0] > strides[0][0]
    if transposed:
        rows, columns = columns, rows
    frame = Frame(
        rows=rows,
        columns=columns,
        stride=strides[transposed][1],
        zero=zero,
        alphabet=alphabet,
        boldness=0 if kept > 16 * alphabet else 2,
    )
    return frame, transposed


def _stride(mask: NDArray[np.bool_]) -> tuple[float, int]:
    """Return the step along the rows at which entries coincide most, and by how much.

    Coincidences are counted beyond those of columns that were independent, in deviations.
    """
    columns = mask.shape[1]
    sample = mask[: max(1, (1 << 20) // columns)]
    shares = sample.mean(0)
    best = (0.0, min(2, columns))
    for step in range(2, min(MAX_STRIDE, columns - 1) + 1):
        found = np.count_nonzero(sample[:, step:] & sample[:, :-step])
        expected = len(sample) * float(shares[step:] @ shares[:-step])
        gain = (found - expected) / np.sqrt(expected + 1)
        best = max(best, (float(gain), step), key=lambda pair: pair[0])
    return best
