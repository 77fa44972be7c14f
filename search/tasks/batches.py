"""Batches of a task's training data: the same ones for the same epoch, known by their content."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from compressors.base import Inputs
from compressors.models.fingerprint import content
from search.tasks.batch_form import PAIRS, BatchForm
from search.tasks.data_intake import training_data
from search.tasks.random_state import EpochRandomness, generators_of

Batch = tuple[Inputs, Any]
"""Inputs and targets."""
TrainingData = Callable[[int], Iterable[Any]] | Iterable[Any]
"""Batches in any form that `BatchForm` reads, or a function from an epoch to its batches."""
_END = object()


def batches_of_epoch(data: TrainingData, epoch: int, form: BatchForm = PAIRS) -> Iterator[Batch]:
    """Yield inputs and targets of an epoch; the same epoch yields the same batches in order."""
    return map(form.read, raw_batches(data, epoch))


def raw_batches(data: TrainingData, epoch: int) -> Iterator[Any]:
    """Yield the batches of an epoch as the user's data give them, without those that are None.

    While the data are read, all random numbers come from a sequence that depends on the epoch
    alone. Passes may overlap: each has its own sequence and its own processes of a data loader.
    """
    randomness = EpochRandomness(epoch)
    with randomness.drawing():
        source = training_data(data, epoch)
    randomness.include(generators_of(source))
    with randomness.drawing():
        batches = _fresh_iterator(source)
    while True:
        with randomness.drawing():
            batch = next(batches, _END)
        if batch is _END:
            return
        if batch is not None:
            yield batch


def _fresh_iterator(data: Iterable[Any]) -> Iterator[Any]:
    """Return an iterator of its own over the data.

    Persistent processes of a torch data loader keep their random state from one pass to the next
    and serve one pass at a time. They are started anew here, which seeds them.
    """
    if not (isinstance(data, DataLoader) and data.persistent_workers):
        return iter(data)
    data._iterator = None
    batches = iter(data)
    data._iterator = None
    return batches


def batch_checksum(inputs: Inputs) -> int:
    """Return a checksum of the values of a batch of inputs, tensors of `[B, ...]`."""
    value = 0
    for tensor in _tensors(inputs):
        value = zlib.crc32(content(tensor), value)
    return value


def sample_digests(inputs: Inputs) -> list[int]:
    """Return a digest of each of the B samples of a batch; none unless it is one tensor `[B, ...]`.

    A digest is a signed integer of 64 bits.
    """
    if not isinstance(inputs, Tensor):
        return []
    digests = (blake2b(bytes(content(row)), digest_size=8).digest() for row in inputs)
    return [int.from_bytes(digest, "little", signed=True) for digest in digests]


def _tensors(inputs: Inputs) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    return list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
