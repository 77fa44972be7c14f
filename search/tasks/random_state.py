"""The random numbers that building a task and a pass over its data draw: sequences of their own."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

BUILD_SEED = 67280421310721
"""Seed of the generators while a task is built: that of torch's own in a fresh process."""
_NUMPY_SEEDS = 1 << 32
_State = tuple[Any, Any, list[torch.Tensor]]
"""State of Python's generator, of numpy's, and of torch's and further torch generators."""


class EpochRandomness:
    """Random state of one pass over the data, which depends on the epoch alone.

    A data loader that shuffles or augments draws from the global generators of torch, Python's
    `random` and `numpy.random`, or from a generator that it was given. While the pass reads, they
    all continue its own sequence; afterwards they are as they were. Processes of a data loader
    seed their generators from a number that is drawn from torch's.
    """

    def __init__(self, epoch: int) -> None:
        """Begin the sequence of an epoch, whose number is the seed."""
        self._seeded = torch.Generator().manual_seed(epoch).get_state()
        self._own: list[torch.Generator] = []
        self._state: _State = (
            random.Random(epoch).getstate(),
            np.random.RandomState(epoch % _NUMPY_SEEDS).get_state(),
            [self._seeded],
        )

    def include(self, generators: list[torch.Generator]) -> None:
        """Add the generators that the data draw from beside the global ones, outside `drawing`."""
        self._own += generators
        self._state[2].extend(self._seeded for _ in generators)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Put the pass's own random state in place for this block, and keep it for the next."""
        before = self._current()
        _restore(self._state, self._own)
        try:
            yield
        finally:
            self._state = self._current()
            _restore(before, self._own)

    def _current(self) -> _State:
        own = [generator.get_state() for generator in self._own]
        # The legacy generator is the one that a user's augmentation draws from.
        numpy_state = np.random.get_state()  # noqa: NPY002
        return random.getstate(), numpy_state, [torch.get_rng_state(), *own]


def _restore(state: _State, generators: list[torch.Generator]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2][0])
    for generator, own in zip(generators, state[2][1:], strict=True):
        generator.set_state(own)


def generators_of(data: Any) -> list[torch.Generator]:
    """Return the CPU generators that a torch data loader and its samplers were given, each once."""
    holders = [data, getattr(data, "sampler", None), getattr(data, "batch_sampler", None)]
    holders.append(getattr(holders[2], "sampler", None))
    found = [getattr(holder, "generator", None) for holder in holders]
    given = [g for g in found if isinstance(g, torch.Generator) and g.device.type == "cpu"]
    return list({id(generator): generator for generator in given}.values())
