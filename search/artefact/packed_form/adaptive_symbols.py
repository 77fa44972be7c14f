"""Symbols coded under the counts of those before them: their size and their encoding."""

from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from search.artefact.packed_form.unpack import blocks


class AdaptiveSymbols:
    """Symbols `[n]` in [0, alphabet), as the reader's `read_adaptive` reads them."""

    def __init__(self, symbols: NDArray[Any], alphabet: int) -> None:
        self._symbols = symbols.astype(np.min_scalar_type(alphabet))
        self._blocks = list(blocks(symbols.size)) if alphabet > 1 else []
        self._sizes = np.array([block.stop - block.start for block in self._blocks], np.int64)
        # Counts [blocks, alphabet] within each block and before it.
        counts = [np.bincount(symbols[block], minlength=alphabet) for block in self._blocks]
        self._found = np.array(counts, np.int64).reshape(-1, alphabet)
        self._before = self._found.cumsum(0) - self._found

    def information(self, boldness: int) -> float:
        """Return the size of the symbols in bits: minus the logarithm of their probability.

        A symbol not yet seen counts as `2**-boldness` of a symbol.
        """
        weights = (self._before << boldness) + 1
        occurring = self._found.nonzero()
        kept = self._found[occurring] @ np.log2(weights[occurring])
        return float(self._sizes @ np.log2(weights.sum(1)) - kept)

    def encode(self, encoder: constriction.stream.queue.RangeEncoder, boldness: int) -> None:
        """Encode the symbols, one block after the other."""
        for block, before in zip(self._blocks, self._before, strict=True):
            weights = ((before << boldness) + 1).astype(np.float64)
            model = constriction.stream.model.Categorical(weights, perfect=False)
            encoder.encode(self._symbols[block].astype(np.int32), model)
