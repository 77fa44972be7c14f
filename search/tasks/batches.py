"""Batches of a task's training data: the same ones for the same epoch, known by their content."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, cast

import torch
from torch import Tensor

from compressors.base import Inputs
from compressors.models.fingerprint import content

Batch = tuple[Inputs, Any]
"""Inputs and targets."""
TrainingData = Callable[[int], Iterable[Batch]] | Iterable[Batch]
"""Batches, or a function from an epoch to its batches."""


def batches_of_epoch(data: TrainingData, epoch: int) -> Iterator[Batch]:
    """Yield the batches of an epoch; the same epoch yields the same batches in the same order.

    A data loader that shuffles or augments draws from torch's global generator. While it is read,
    that generator has a state of its own, which depends on the epoch alone.
    """
    state = torch.Generator().manual_seed(epoch).get_state()
    batches: Iterator[Batch] | None = None
    while True:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            if batches is None:
                batches = iter(data(epoch) if callable(data) else data)
            batch = next(batches, None)
            state = torch.get_rng_state()
        if batch is None:
            return
        yield as_inputs(batch[0]), batch[1]


def as_inputs(inputs: Any) -> Inputs:
    """Return the inputs `[B, ...]` of a batch, with a list of tensors as a tuple."""
    return tuple(inputs) if isinstance(inputs, list) else cast(Inputs, inputs)


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
