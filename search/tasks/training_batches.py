"""The training data of a task, whose first batches are read once and kept."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sized
from copy import copy
from itertools import islice
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from compressors.models.calibration import batch_size
from search.errors import ConfigError
from search.tasks.batches import Batch, TrainingData, batches_of_epoch

MAX_KEPT_BYTES = 256 * 2**20
"""Bytes of the first batches beyond which no further batch is kept."""
MAX_KEPT_SAMPLES = 4096
"""Samples of the first batches beyond which no further batch is kept; nothing but training reads
more of them."""


class TrainingBatches:
    """Batches by epoch; the first ones of epoch 0 are kept as they are read.

    Calibration, digests and the example want these again and again, and every pass over a data
    loader starts its processes and decodes its samples anew. A pass that was not read to its end
    stays open for the next reader who wants more.
    """

    def __init__(
        self,
        data: TrainingData,
        read: Callable[[TrainingData, int], Iterator[Batch]] = batches_of_epoch,
    ) -> None:
        """Read nothing yet.

        Args:
            data: The user's training data.
            read: Opens a pass over the data of an epoch.
        """
        self._data = data
        self._read = read
        self._kept: list[Batch] = []
        self._bytes = self._samples = 0
        self._ended = False
        self._open: Iterator[Batch] | None = None
        """A pass of epoch 0 that stands behind the batches that are kept."""

    @property
    def length(self) -> str:
        """The length that the data report; empty if they report none."""
        return str(len(self._data)) if isinstance(self._data, Sized) else ""

    @property
    def samples(self) -> int:
        """The number of samples of an epoch, counted in a whole pass unless a loader knows it."""
        if isinstance(self._data, DataLoader) and isinstance(self._data.sampler, Sized):
            return len(self._data.sampler)
        return sum(batch_size(inputs) for inputs, _ in self.of_epoch(0))

    def first(self) -> Batch:
        """Return the first batch of epoch 0.

        Raises:
            ConfigError: There is none.
        """
        batch = next(self.of_epoch(0), None)
        if batch is None:
            raise ConfigError("train yields no batch; check the data and the loader's drop_last")
        return batch

    def of_epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; the same epoch yields the same batches in order."""
        return self._first_epoch() if epoch == 0 else self._read(self._data, epoch)

    def unkept(self) -> Iterator[Batch]:
        """Yield the batches of epoch 0 from a new pass, whatever is kept."""
        return self._read(self._data, 0)

    def _first_epoch(self) -> Iterator[Batch]:
        position = 0
        while position < len(self._kept) or self._keep_next():
            yield _copied(self._kept[position])  # a model or a loss may write into its batch
            position += 1
        if not self._ended:
            yield from self._behind_kept()

    def _keep_next(self) -> bool:
        """Keep one batch more; return False if there is none, or if enough are kept."""
        if self._ended or self._bytes >= MAX_KEPT_BYTES or self._samples >= MAX_KEPT_SAMPLES:
            return False
        batches = self._behind_kept()
        batch = next(batches, None)
        if batch is None:
            self._ended = True
            return False
        self._open = batches
        # Copies, since what comes from another process holds a file open and shared memory.
        self._kept.append(_copied(batch))
        self._samples += batch_size(batch[0])
        self._bytes += _bytes(batch)
        return True

    def _behind_kept(self) -> Iterator[Batch]:
        """Return the pass that stands behind what is kept, which then belongs to the caller."""
        batches, self._open = self._open, None
        return batches or islice(self._read(self._data, 0), len(self._kept), None)


def _copied(value: Any) -> Any:
    """Return a batch, or a part of one, with copies of its tensors of any shape."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, MutableMapping):
        copied = copy(value)
        copied.update({name: _copied(item) for name, item in value.items()})
        return copied
    if isinstance(value, tuple | list):
        items = [_copied(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    items = list(value.values()) if isinstance(value, Mapping) else value
    return sum(map(_bytes, items)) if isinstance(items, tuple | list) else 0
