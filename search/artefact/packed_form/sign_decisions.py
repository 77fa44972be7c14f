"""What the reader will ask about the signs of a matrix, and how probable it will hold the answers.

The reader's `SignMap` finds one diagonal after the other. The writer knows all signs, so that every
count is a sum over the matrix, and only the mixtures go from diagonal to diagonal.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.unpack import (
    NO_SIGNS,
    ONE,
    SIGN_DIGITS,
    SIGN_PATTERNS,
    TOTAL,
    ZERO_DIGITS,
    ZERO_PATTERNS,
    Array,
    Mixture,
    beside,
    neighbours,
    sign_mixture,
    zero_mixture,
)

BAND = 1 << 14
"""Entries that are looked at together, for the sake of memory."""

Matrix = NDArray[Any]
Answers = tuple[Array, Array]
"""Bits `[m]` and the probabilities `[m]` of a 1, in 1/65536."""
Follow = Callable[[Mixture, Array, Array, Array], Array]


def sign_decisions(
    signs: NDArray[np.int8], stride: int, *, signed: bool, learning: bool = True
) -> Answers:
    """Return the bits that give the signs -1, 0, 1 of a matrix `[R, N]`, in the reader's order.

    Arguments:
        signs: without a negative one where unsigned.
        stride: columns between an entry and its neighbour.
        signed: whether there are both signs, so that they are asked for.
        learning: False for an estimate, with mixtures as they are in the beginning, in less than
            half the time; what the bits take then is right to a few percent.
    """
    follow = _learning if learning else _as_they_are
    zeros, negatives = _Zeros(signs, stride, follow), _Negatives(signs, stride, follow)
    answers = []
    for band in _bands(*signs.shape):
        bits, probability = zeros.answer(band)
        if signed:
            chosen = band.where(np.flatnonzero(bits))
            negative = negatives.answer(chosen)
            # The signs of a diagonal are asked for after its zeros.
            order = np.argsort(np.concatenate([band.diagonal, chosen.diagonal]), kind="stable")
            bits = np.concatenate([bits, negative[0]])[order]
            probability = np.concatenate([probability, negative[1]])[order]
        answers.append((bits, probability))
    all_bits, probabilities = zip(*answers, strict=True)
    return np.concatenate(all_bits), np.concatenate(probabilities)


@dataclass(frozen=True, kw_only=True)
class _Entries:
    """Some entries `[m]` of neighbouring diagonals, in the reader's order."""

    row: Array
    column: Array
    at: Array
    """The place in the matrix, flat."""
    diagonal: Array
    """From the first of these diagonals."""
    starts: Array
    """Where each diagonal begins, and where the last one ends."""

    def where(self, chosen: Array) -> "_Entries":
        """Return the entries at some places of these."""
        return _Entries(
            row=self.row[chosen],
            column=self.column[chosen],
            at=self.at[chosen],
            diagonal=self.diagonal[chosen],
            starts=np.searchsorted(chosen, self.starts),
        )


def _bands(rows: int, columns: int) -> Iterator[_Entries]:
    """Yield the entries of a matrix, some diagonals at a time."""
    diagonals = np.arange(rows + columns - 1)
    first = np.maximum(0, diagonals - columns + 1)
    sizes = np.minimum(rows - 1, diagonals) - first + 1
    cuts = np.searchsorted(np.cumsum(sizes), np.arange(BAND, rows * columns, BAND)) + 1
    for begin, end in pairwise(np.unique([0, *cuts, len(diagonals)])):
        starts = np.concatenate([[0], np.cumsum(sizes[begin:end])])
        diagonal = np.repeat(np.arange(end - begin), sizes[begin:end])
        row = np.arange(starts[-1]) - (starts[:-1] - first[begin:end])[diagonal]
        column = begin + diagonal - row
        at = row * columns + column
        yield _Entries(row=row, column=column, at=at, diagonal=diagonal, starts=starts)


class _Zeros:
    """Which entries are not zero."""

    def __init__(self, signs: NDArray[np.int8], stride: int, follow: Follow) -> None:
        self._follow = follow
        self._kept = (signs != 0).view(np.uint8)
        self._in_column, self._in_row = _count_above(self._kept), _count_left(self._kept)
        self._in_beside = _count_beside(self._kept, self._in_column, stride)
        self._pattern = _pattern(self._kept, stride, ZERO_DIGITS)
        self._places = _Places(ZERO_PATTERNS)
        self._mixture = zero_mixture()
        self._ones, self._seen = TOTAL

    def answer(self, asked: _Entries) -> Answers:
        bits = self._kept.take(asked.at).astype(np.int64)
        of_place = self._places.before(asked, self._pattern.take(asked.at), bits)
        counts = self._in_column, self._in_row, self._in_beside
        ones = np.stack([*(count.take(asked.at) for count in counts), of_place[0]], dtype=np.int64)
        seen = np.stack([asked.row, asked.column, 4 * asked.row, of_place[1]])
        odds = self._mixture.odds(ones, seen, self._share(asked, bits)[asked.diagonal])
        return bits, self._follow(self._mixture, odds, bits, asked.starts)

    def _share(self, asked: _Entries, bits: Array) -> Array:
        """Return the share of entries that were not zero before each diagonal, in 1/65536."""
        passed = self._ones + np.concatenate([[0], np.cumsum(bits)])[asked.starts]
        seen = self._seen + asked.starts
        self._ones, self._seen = int(passed[-1]), int(seen[-1])
        share: Array = (passed[:-1] << 16) // seen[:-1]
        return share


class _Negatives:
    """Which entries that are not zero are negative."""

    def __init__(self, signs: NDArray[np.int8], stride: int, follow: Follow) -> None:
        self._follow = follow
        kept = (signs != 0).view(np.uint8)
        self._negative = (signs < 0).view(np.uint8)
        self._ones = [_count_above(self._negative), _count_left(self._negative)]
        self._seen = [_count_above(kept), _count_left(kept)]
        self._pattern = _pattern(signs, stride, SIGN_DIGITS) + NO_SIGNS
        self._places = _Places(SIGN_PATTERNS)
        self._mixture = sign_mixture()

    def answer(self, asked: _Entries) -> Answers:
        bits = self._negative.take(asked.at).astype(np.int64)
        of_place = self._places.before(asked, self._pattern.take(asked.at), bits)
        ones, seen = (
            np.stack([of, *(count.take(asked.at) for count in counts)], dtype=np.int64)
            for of, counts in zip(of_place, (self._ones, self._seen), strict=True)
        )
        odds = self._mixture.odds(ones, seen, ONE // 2)
        return bits, self._follow(self._mixture, odds, bits, asked.starts)


class _Places:
    """How often each pattern of neighbours had a 0 and a 1."""

    def __init__(self, patterns: int) -> None:
        self._counts = np.zeros(2 * patterns, np.int64)

    def before(self, asked: _Entries, pattern: Matrix, bits: Array) -> tuple[Array, Array]:
        """Return how many of the pattern of each entry were 1 before its diagonal, and how many
        there were; count the entries in."""
        kinds, diagonals = len(self._counts), len(asked.starts) - 1
        keys = asked.diagonal * kinds + 2 * pattern.astype(np.int64)
        found = np.bincount(keys + bits, minlength=diagonals * kinds).reshape(diagonals, kinds)
        passed = found.cumsum(0) + self._counts
        before = (passed - found).reshape(-1)
        self._counts = passed[-1]
        ones = before[keys + 1]
        return ones, ones + before[keys]


def _as_they_are(mixture: Mixture, odds: Array, bits: Array, starts: Array) -> Array:
    """Return the probabilities `[m]` of a 1 by a mixture that does not learn."""
    return mixture.probability(odds)


def _learning(mixture: Mixture, odds: Array, bits: Array, starts: Array) -> Array:
    """Return the probabilities `[m]` of a 1; the mixture learns from one diagonal after another."""
    probability = np.empty(len(bits), np.int64)
    for start, stop in pairwise(starts.tolist()):
        if start < stop:
            part = odds[:, start:stop]
            probability[start:stop] = mixture.probability(part)
            mixture.learn(part, bits[start:stop], probability[start:stop])
    return probability


def _count_left(kept: Matrix) -> Matrix:
    """Return how many entries `[R, N]` of the row are kept before each."""
    return kept.cumsum(1, dtype=_counting(kept)) - kept


def _count_above(kept: Matrix) -> Matrix:
    """Return how many entries `[R, N]` of the column are kept before each."""
    return kept.cumsum(0, dtype=_counting(kept)) - kept


def _counting(kept: Matrix) -> np.dtype[Any]:
    return np.min_scalar_type(4 * max(kept.shape))


def _count_beside(kept: Matrix, above: Matrix, stride: int) -> Matrix:
    """Return how many entries `[R, N]` of the columns beside are kept on diagonals before each."""
    rows, columns = kept.shape
    above = np.concatenate([above, above[-1:] + kept[-1:]])
    found = np.zeros_like(kept, _counting(kept))
    for right in beside(stride):
        moved = above[np.clip(np.arange(rows) - right, 0, rows)]
        if right > 0:
            found[:, : columns - right] += moved[:, right:]
        else:
            found[:, -right:] += moved[:, : columns + right]
    return found


def _pattern(values: Matrix, stride: int, digits: tuple[int, ...]) -> Matrix:
    """Return what the neighbours `[R, N]` of each entry add up to."""
    rows, columns = values.shape
    found = np.zeros_like(values)
    for (down, right), digit in zip(neighbours(stride), digits, strict=True):
        if down or right:
            told = values[: rows - down, : max(0, columns - right)]
            found[down:, right:] += told * values.dtype.type(digit)
    return found
