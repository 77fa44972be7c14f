"""Write numbers and symbols of a packed file, each in the smallest of its forms.

What symbols take is known from their probabilities. Forms are compared by that, and only the best
are encoded, at the end.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.adaptive_symbols import AdaptiveSymbols
from search.artefact.packed_form.sign_decisions import sign_decisions
from search.artefact.packed_form.unpack import (
    ADAPTIVE,
    CONTEXT,
    ONE,
    Array,
    Frame,
    fits_context,
    varint,
)

MAX_CONTEXT_SYMBOLS = 1 << 24
"""Larger matrices are not coded in context, which takes half a microsecond a symbol."""
DENSE_CONTEXT_SYMBOLS = 1 << 16
"""Nor are ones larger than this with few zeros, which have little context to gain from."""
MIN_ZEROS = 0.25
CONTEXT_PAYS_BELOW = 0.99
"""Context is worth its time where its estimate lies below this share of the bytes without it;
large matrices with many zeros gain more than that."""
MAX_STRIDE = 64
EXACT_SYMBOLS = 1 << 16
"""Up to here every boldness is tried."""

Encode = Callable[[constriction.stream.queue.RangeEncoder], None]


class Writer:
    """A program under construction and the symbols that it speaks of."""

    def __init__(self) -> None:
        self.program = bytearray()
        self.information = 0.0
        """Bits: minus the logarithm of the probability of all symbols."""
        self._encodes: list[Encode] = []

    @property
    def size(self) -> float:
        """The bytes of all that was written so far."""
        return len(self.program) + self.information / 8

    def number(self, value: int) -> None:
        """Write a non-negative integer, seven bits a byte, low bits first."""
        self.program += varint(value)

    def smallest(self, ways: list[Callable[["Writer"], None]]) -> None:
        """Write in the one of several ways that takes the fewest bytes, the first where equal."""
        self._append(min(map(_written, ways), key=lambda part: part.size))

    def symbols(self, matrix: NDArray[Any], alphabet: int) -> None:
        """Write a matrix `[R, N]` of integers in [0, alphabet), or a vector of them."""
        parts = [_written(_adaptive(matrix.reshape(-1), alphabet))]
        frame = _frame(matrix, alphabet) if matrix.ndim == 2 else None
        if frame is not None and _may_pay(matrix, frame, parts[0].size):
            parts.append(_written(_in_context(matrix, *frame)))
        self._append(min(parts, key=lambda part: part.size))

    def _append(self, part: "Writer") -> None:
        self.program += part.program
        self.information += part.information
        self._encodes += part._encodes

    def adaptive(self, symbols: AdaptiveSymbols, choices: tuple[int, ...]) -> int:
        """Add symbols under the counts of those before them; return the boldness that was best."""
        taken = [symbols.information(boldness) for boldness in choices]
        boldness = choices[int(np.argmin(taken))]
        self.information += min(taken)
        self._encodes.append(partial(symbols.encode, boldness=boldness))
        return boldness

    def bits(self, bits: Array, probability: Array) -> None:
        """Add bits `[m]` under probabilities `[m]` of a 1, in 1/65536."""
        likelihood = np.where(bits != 0, probability, ONE - probability) / ONE
        self.information -= float(np.log2(likelihood).sum())
        model = constriction.stream.model.Bernoulli(perfect=False)
        self._encodes.append(
            lambda encoder: encoder.encode(bits.astype(np.int32), model, probability / ONE)
        )

    def words(self) -> bytes:
        """Return all symbols, encoded, as little-endian words."""
        encoder = constriction.stream.queue.RangeEncoder()
        for encode in self._encodes:
            encode(encoder)
        return bytes(encoder.get_compressed().astype("<u4").tobytes())


def _written(way: Callable[[Writer], None]) -> Writer:
    """Return what is written in some way."""
    part = Writer()
    way(part)
    return part


def _adaptive(flat: NDArray[Any], alphabet: int) -> Callable[[Writer], None]:
    def write(writer: Writer) -> None:
        symbols = AdaptiveSymbols(flat, alphabet)
        writer.number(ADAPTIVE + writer.adaptive(symbols, _boldness(flat, alphabet)))

    return write


def _may_pay(matrix: NDArray[Any], frame: tuple[Frame, bool], size: float) -> bool:
    """Tell whether context is worth its time beside a way that takes `size` bytes."""
    if matrix.size > DENSE_CONTEXT_SYMBOLS:
        return True
    estimate = _written(_in_context(matrix, *frame, learning=False))
    return estimate.size < CONTEXT_PAYS_BELOW * size


def _boldness(symbols: NDArray[Any], alphabet: int) -> tuple[int, ...]:
    return (0,) if symbols.size > EXACT_SYMBOLS or alphabet <= 2 else (0, 2, 4)


def _in_context(
    matrix: NDArray[Any], frame: Frame, transposed: bool, *, learning: bool = True
) -> Callable[[Writer], None]:
    def write(writer: Writer) -> None:
        writer.number(CONTEXT + frame.boldness)
        for number in (int(transposed), frame.rows, frame.stride, frame.zero):
            writer.number(number)
        distance = (matrix.T if transposed else matrix).astype(np.int64) - frame.zero
        signed = len(frame.reaches) == 2
        signs = (np.sign(distance) if signed else distance != 0).astype(np.int8)
        writer.bits(*sign_decisions(signs, frame.stride, signed=signed, learning=learning))
        for side, reach in frame.reaches:
            far = np.abs(distance[distance * side > 0]) - 1
            writer.adaptive(AdaptiveSymbols(far, reach), (frame.boldness,))

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
