"""The decisions that code the signs of a matrix, with the probabilities that the reader expects.

The reader's `SignMap` finds one diagonal after the other. The writer knows all signs, so that every
count is a sum over the matrix, and only the mixtures proceed from diagonal to diagonal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.diagonals import Entries, bands
from search.artefact.packed_form.neighbour_counts import (
    Matrix,
    count_above,
    count_beside,
    count_left,
    neighbour_pattern,
)
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
    sign_mixture,
    zero_mixture,
)

Decisions = tuple[Array, Array]
"""Bits `[m]` and the probabilities `[m]` of a 1, in 1/65536."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of some decisions, diagonal by diagonal, and their bits."""

    odds: Array
    """[k, m]: the log-odds that a mixture adds up."""
    bits: Array
    """[m]."""
    starts: Array
    """[diagonals + 1]: where each diagonal begins, and where the last one ends."""


Predict = Callable[[Mixture, _Known], Array]
"""Returns the probabilities `[m]` of a 1 by a mixture."""


def sign_decisions(
    signs: NDArray[np.int8], stride: int, *, signed: bool, learning: bool = True
) -> Decisions:
    """Return the bits that code the signs -1, 0, 1 of a matrix, in the reader's order.

    Args:
        signs: `[R, N]`, without a negative one where unsigned.
        stride: Columns between an entry and its neighbour.
        signed: Whether there are both signs, so that they are coded too.
        learning: False for an estimate, with mixtures in their initial state, in less than half
            the time; the size of the bits is then right to a few percent.
    """
    predict = _learning if learning else _initial
    signs = np.ascontiguousarray(signs)  # numpy copies any other array whole to take entries of it
    zeros, negatives = _Zeros(signs, stride, predict), _Negatives(signs, stride, predict)
    decisions = []
    for band in bands(*signs.shape):
        bits, probability = zeros.decide(band)
        if signed:
            chosen = band.where(np.flatnonzero(bits))
            negative = negatives.decide(chosen)
            # The signs of a diagonal follow its zeros.
            order = np.argsort(np.concatenate([band.diagonal, chosen.diagonal]), kind="stable")
            bits = np.concatenate([bits, negative[0]])[order]
            probability = np.concatenate([probability, negative[1]])[order]
        decisions.append((bits, probability))
    all_bits, probabilities = zip(*decisions, strict=True)
    return np.concatenate(all_bits), np.concatenate(probabilities)


class _Zeros:
    """Decisions whether entries are not zero."""

    def __init__(self, signs: NDArray[np.int8], stride: int, predict: Predict) -> None:
        self._predict = predict
        self._kept = (signs != 0).view(np.uint8)
        self._in_column, self._in_row = count_above(self._kept), count_left(self._kept)
        self._in_beside = count_beside(self._kept, self._in_column, stride)
        self._pattern = neighbour_pattern(self._kept, stride, ZERO_DIGITS)
        self._counts = _PatternCounts(ZERO_PATTERNS)
        self._mixture = zero_mixture()
        self._ones, self._seen = TOTAL

    def decide(self, entries: Entries) -> Decisions:
        bits = self._kept.take(entries.flat).astype(np.int64)
        pattern_ones, pattern_seen = self._counts.before(
            entries, self._pattern.take(entries.flat), bits
        )
        counts = (self._in_column, self._in_row, self._in_beside)
        ones = np.stack([*(c.take(entries.flat) for c in counts), pattern_ones], dtype=np.int64)
        seen = np.stack([entries.row, entries.column, 4 * entries.row, pattern_seen])
        expected = self._share(entries, bits)[entries.diagonal]
        odds = self._mixture.odds(ones, seen, expected)
        known = _Known(odds=odds, bits=bits, starts=entries.starts)
        return bits, self._predict(self._mixture, known)

    def _share(self, entries: Entries, bits: Array) -> Array:
        """Return the share of entries that were not zero before each diagonal, in 1/65536."""
        passed = self._ones + np.concatenate([[0], np.cumsum(bits)])[entries.starts]
        seen = self._seen + entries.starts
        self._ones, self._seen = int(passed[-1]), int(seen[-1])
        share: Array = (passed[:-1] << 16) // seen[:-1]
        return share


class _Negatives:
    """Decisions whether entries that are not zero are negative."""

    def __init__(self, signs: NDArray[np.int8], stride: int, predict: Predict) -> None:
        self._predict = predict
        kept = (signs != 0).view(np.uint8)
        self._negative = (signs < 0).view(np.uint8)
        self._ones = [count_above(self._negative), count_left(self._negative)]
        self._seen = [count_above(kept), count_left(kept)]
        self._pattern = neighbour_pattern(signs, stride, SIGN_DIGITS) + NO_SIGNS
        self._counts = _PatternCounts(SIGN_PATTERNS)
        self._mixture = sign_mixture()

    def decide(self, entries: Entries) -> Decisions:
        bits = self._negative.take(entries.flat).astype(np.int64)
        of_pattern = self._counts.before(entries, self._pattern.take(entries.flat), bits)
        ones, seen = (
            np.stack([of, *(count.take(entries.flat) for count in counts)], dtype=np.int64)
            for of, counts in zip(of_pattern, (self._ones, self._seen), strict=True)
        )
        odds = self._mixture.odds(ones, seen, ONE // 2)
        known = _Known(odds=odds, bits=bits, starts=entries.starts)
        return bits, self._predict(self._mixture, known)


class _PatternCounts:
    """How often each pattern of neighbours had a 0 and a 1."""

    def __init__(self, patterns: int) -> None:
        self._counts = np.zeros(2 * patterns, np.int64)

    def before(self, entries: Entries, pattern: Matrix, bits: Array) -> tuple[Array, Array]:
        """Return counts `[m]` of ones and of all with the pattern of each entry, and add these.

        Only entries on diagonals before its own count for an entry.
        """
        kinds, diagonals = len(self._counts), len(entries.starts) - 1
        keys = entries.diagonal * kinds + 2 * pattern.astype(np.int64)
        found = np.bincount(keys + bits, minlength=diagonals * kinds).reshape(diagonals, kinds)
        passed = found.cumsum(0) + self._counts
        before = (passed - found).reshape(-1)
        self._counts = passed[-1]
        ones = before[keys + 1]
        return ones, ones + before[keys]


def _initial(mixture: Mixture, known: _Known) -> Array:
    """Return the probabilities `[m]` of a 1 by a mixture that does not learn."""
    return mixture.probability(known.odds)


def _learning(mixture: Mixture, known: _Known) -> Array:
    """Return the probabilities `[m]` of a 1; the mixture learns from one diagonal after another."""
    probability = np.empty(len(known.bits), np.int64)
    for start, stop in pairwise(known.starts.tolist()):
        if start < stop:
            odds = known.odds[:, start:stop]
            probability[start:stop] = mixture.probability(odds)
            mixture.learn(odds, known.bits[start:stop], probability[start:stop])
    return probability
