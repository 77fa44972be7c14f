"""Labels of channels, and which of them stand for channels that can only be cut together."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
"""Labels of any shape; 0 stands for no channel."""


class Equivalence:
    """A partition of labels, in which labels are united pair by pair."""

    def __init__(self) -> None:
        self._above: list[int] = [0]
        self._frozen: dict[int, str] = {}
        self._table: Labels | None = None

    def new(self, count: int) -> Labels:
        """Return labels `[count]` that nothing else has."""
        first = len(self._above)
        self._above.extend(range(first, first + count))
        self._table = None
        return np.arange(first, first + count)

    def root(self, labels: Labels) -> Labels:
        """Return for each of some labels the one that stands for all it is united with."""
        if self._table is None:
            table = np.array(self._above)
            while not np.array_equal(table, table[table]):
                table = table[table]
            self._table, self._above = table, table.tolist()
        return self._table[labels]

    def unite(self, one: Labels, other: Labels) -> None:
        """Unite the labels at equal places of two arrays of one shape; 0 is united with nothing."""
        pairs = np.stack([self.root(one).ravel(), self.root(other).ravel()])
        pairs = np.unique(pairs[:, (pairs[0] != pairs[1]) & (pairs != 0).all(0)], axis=1)
        for first, second in pairs.T.tolist():
            low, high = sorted((self._find(first), self._find(second)))
            self._above[high] = low
            self._table = None

    def freeze(self, labels: Labels, reason: str) -> None:
        """Note why the channels of some labels have to stay; the first reason is kept."""
        for label in np.unique(labels[labels != 0]).tolist():
            self._frozen.setdefault(label, reason)

    def frozen(self) -> dict[int, str]:
        """Return by root why the channels have to stay."""
        reasons: dict[int, str] = {}
        for label, reason in self._frozen.items():
            reasons.setdefault(int(self.root(np.array(label))), reason)
        return reasons

    def with_united(self, pairs: Iterable[tuple[Labels, Labels]]) -> "Equivalence":
        """Return a copy in which further labels are united."""
        copy = Equivalence()
        copy._above, copy._frozen = list(self._above), dict(self._frozen)
        for one, other in pairs:
            copy.unite(one, other)
        return copy

    def _find(self, label: int) -> int:
        while self._above[label] != label:
            label = self._above[label]
        return label
