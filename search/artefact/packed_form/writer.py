"""Write numbers and symbols of a packed file, each in the smallest of its forms.

The size of symbols is known from their probabilities. Forms are compared by it, and only the best
are encoded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.adaptive_symbols import AdaptiveSymbols
from search.artefact.packed_form.context_layout import (
    MAX_DENSE_SYMBOLS,
    ContextLayout,
    context_layout,
)
from search.artefact.packed_form.sign_decisions import sign_decisions
from search.artefact.packed_form.unpack import (
    ADAPTIVE,
    CONTEXT,
    ONE,
    Array,
    Buffer,
    as_bytes,
    varint,
)

CONTEXT_PAYS_BELOW = 0.99
"""Share of the bytes without context below which the estimate with context is worth its time."""
MAX_EXACT_SYMBOLS = 1 << 16
"""Largest number of symbols for which every boldness is tried."""

Encode = Callable[[constriction.stream.queue.RangeEncoder], None]
Way = Callable[["Writer"], None]
"""Writes something in one of several forms."""


class Writer:
    """A program under construction and the symbols that it refers to."""

    def __init__(self) -> None:
        self.program = bytearray()
        self.information = 0.0
        """Minus the binary logarithm of the probability of all symbols, in bits."""
        self._encodes: list[Encode] = []
        self._encoder = constriction.stream.queue.RangeEncoder()

    @property
    def size(self) -> float:
        """The size of the program and the symbols so far, in bytes."""
        return len(self.program) + self.information / 8

    def number(self, value: int) -> None:
        """Write a non-negative integer, seven bits per byte, low bits first."""
        self.program += varint(value)

    def smallest(self, ways: list[Way]) -> None:
        """Write in the way that takes the fewest bytes, the first where several are equal."""
        self._append(min(map(_written, ways), key=lambda part: part.size))

    def symbols(self, matrix: NDArray[Any], alphabet: int) -> None:
        """Write a matrix `[R, N]` of integers in [0, alphabet), or a vector of them."""
        parts = [_written(_adaptive(matrix.reshape(-1), alphabet))]
        layout = context_layout(matrix, alphabet) if matrix.ndim == 2 else None
        if layout is not None and _may_pay(matrix, layout, parts[0].size):
            parts.append(_written(_in_context(matrix, layout)))
        self._append(min(parts, key=lambda part: part.size))

    def _append(self, part: "Writer") -> None:
        self.program += part.program
        self.information += part.information
        self._encodes += part._encodes

    def adaptive(self, symbols: AdaptiveSymbols, choices: tuple[int, ...]) -> int:
        """Add symbols under the counts of those before them; return the best boldness."""
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

    def encode(self) -> None:
        """Encode the symbols so far, which are then kept no longer."""
        for encode in self._encodes:
            encode(self._encoder)
        self._encodes = []

    def words(self) -> Buffer:
        """Return all symbols, encoded, as little-endian words of 32 bits."""
        self.encode()
        return as_bytes(self._encoder.get_compressed().astype("<u4", copy=False))


def _written(way: Way) -> Writer:
    part = Writer()
    way(part)
    return part


def _adaptive(flat: NDArray[Any], alphabet: int) -> Way:
    def write(writer: Writer) -> None:
        symbols = AdaptiveSymbols(flat, alphabet)
        writer.number(ADAPTIVE + writer.adaptive(symbols, _boldness(flat, alphabet)))

    return write


def _boldness(symbols: NDArray[Any], alphabet: int) -> tuple[int, ...]:
    return (0,) if symbols.size > MAX_EXACT_SYMBOLS or alphabet <= 2 else (0, 2, 4)


def _may_pay(matrix: NDArray[Any], layout: ContextLayout, size: float) -> bool:
    """Return whether context is worth its time beside a way that takes `size` bytes."""
    if matrix.size > MAX_DENSE_SYMBOLS:  # with many zeros, so that the gain is large
        return True
    estimate = _written(_in_context(matrix, layout, learning=False))
    return estimate.size < CONTEXT_PAYS_BELOW * size


def _in_context(matrix: NDArray[Any], layout: ContextLayout, *, learning: bool = True) -> Way:
    frame = layout.frame

    def write(writer: Writer) -> None:
        writer.number(CONTEXT + frame.boldness)
        for number in (int(layout.transposed), frame.rows, frame.stride, frame.zero):
            writer.number(number)
        distance = (matrix.T if layout.transposed else matrix).astype(np.int64) - frame.zero
        signed = len(frame.reaches) == 2
        signs = (np.sign(distance) if signed else distance != 0).astype(np.int8)
        writer.bits(*sign_decisions(signs, frame.stride, signed=signed, learning=learning))
        for side, reach in frame.reaches:
            far = np.abs(distance[distance * side > 0]) - 1
            writer.adaptive(AdaptiveSymbols(far, reach), (frame.boldness,))

    return write
