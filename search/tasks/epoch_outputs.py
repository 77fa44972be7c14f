"""A teacher's outputs on the batches of one epoch, as they are kept on disk."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.utils.array_cache import Arrays

MAX_EPOCH_BYTES = 256 * 2**20
"""Outputs of one epoch that take more bytes are not kept."""


class EpochOutputs:
    """Outputs of the first batches of an epoch, or of all, with a checksum of each batch."""

    def __init__(self, kept: Arrays | None) -> None:
        """Take over what is on disk, None for nothing."""
        kept = kept or {}
        shapes: list[Any] = [tuple(shape) for shape in kept.get("shapes", np.empty(0)).tolist()]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes], dtype=np.int64)
        values = np.split(kept["values"], ends[:-1]) if shapes else []
        self._batches = [flat.reshape(shape) for flat, shape in zip(values, shapes, strict=True)]
        self._prints: list[int] = kept.get("prints", np.empty(0)).tolist()
        self._samples: list[int] = kept.get("samples", np.empty(0)).tolist()
        self._bytes = sum(batch.nbytes for batch in self._batches)
        self.too_large = bool(kept.get("too_large", False))
        """Whether the outputs of the epoch take more bytes than are kept."""
        self.complete = self.too_large or bool(kept.get("complete", False))
        """Whether these are the outputs of all batches of the epoch."""
        self.by_sample = bool(kept.get("by_sample", True))
        """Whether those of a later epoch were all taken from samples of the first."""
        self.diverged = False
        """Whether a batch differs from the one whose outputs are kept."""
        self.new = False
        """Whether something was added that is not on disk."""

    def at(self, index: int, checksum: int) -> NDArray[Any] | None:
        """Return the outputs `[B, ...]` of a batch; None if they are to be computed."""
        if self.diverged or self.too_large or index >= len(self._prints):
            return None
        if self._prints[index] != checksum:
            self.diverged = True
            return None
        return self._batches[index]

    def add(self, outputs: NDArray[Any], checksum: int, samples: Sequence[int]) -> None:
        """Add the outputs `[B, ...]` of the next batch, with digests of its samples, if known."""
        if self.diverged or self.too_large:
            return
        self.new, self.complete = True, False
        self._batches.append(outputs)
        self._prints.append(checksum)
        self._samples.extend(samples)
        self._bytes += outputs.nbytes
        if self._bytes > MAX_EPOCH_BYTES:
            self.too_large = True
            self._batches, self._prints, self._samples = [], [], []

    def finish(self) -> None:
        """Note that the batches added so far are all of the epoch."""
        self.new |= not self.complete
        self.complete = True

    def rows(self) -> dict[int, NDArray[Any]]:
        """Return the outputs by the digest of their sample; none where these do not match."""
        shapes = {batch.shape[1:] for batch in self._batches}
        count = sum(len(batch) for batch in self._batches)
        if len(shapes) != 1 or count != len(self._samples):
            return {}
        return dict(zip(self._samples, np.concatenate(self._batches), strict=True))

    def arrays(self) -> Arrays:
        """Return what is to be kept on disk."""
        if self.too_large:
            return {"too_large": np.array(True)}
        kept = {
            "prints": np.array(self._prints, dtype=np.int64),
            "samples": np.array(self._samples, dtype=np.int64),
            "complete": np.array(self.complete),
            "by_sample": np.array(self.by_sample),
        }
        if self._batches:
            kept["values"] = np.concatenate([batch.ravel() for batch in self._batches])
            kept["shapes"] = np.array([batch.shape for batch in self._batches])
        return kept
