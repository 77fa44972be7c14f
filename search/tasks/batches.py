"""Batches of a task's training data: the same ones for the same epoch, known by their content."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from compressors.base import Inputs
from compressors.models.fingerprint import content
from search.tasks.batch_form import PAIRS, BatchForm

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

    A data loader that shuffles or augments draws from torch's global generator. While it is read,
    that generator has a state of its own, which depends on the epoch alone.
    """
    state = torch.Generator().manual_seed(epoch).get_state()
    batches: Iterator[Any] | None = None
    while True:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            if batches is None:
                batches = iter(data(epoch) if callable(data) else data)
            batch = next(batches, _END)
            state = torch.get_rng_state()
        if batch is _END:
            return
        if batch is not None:
            yield batch


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
