"""The batches on which a file is compared with its model."""

from collections.abc import Iterator
from itertools import islice

from compressors.base import Inputs, Task
from compressors.models.calibration import first_samples
from search.tasks.free_axes import BATCH, FreeAxes, cut, sizes_of

SEARCHED_BATCHES = 64
"""Training batches among which one of other lengths is looked for."""
SAMPLES = 2
"""Samples of the batch of other lengths."""


def checked_batches(task: Task, free_axes: FreeAxes) -> list[Inputs]:
    """Return the example, its first sample and, where lengths are free, a batch of other lengths.

    That batch is the first of the training data whose lengths all differ from the example's, else
    the first halves of the example.

    Args:
        task: Gives the example `[B, ...]` and the training batches.
        free_axes: The axes that the file leaves free.
    """
    batches = [task.example, first_samples(task.example, 1)]
    lengths = _lengths(task.example, free_axes)
    if lengths:
        halves = {symbol: (size + 1) // 2 for symbol, size in lengths.items()}
        other = next(_of_other_lengths(task, free_axes), cut(task.example, free_axes, halves))
        batches.append(first_samples(other, SAMPLES))
    return batches


def _lengths(inputs: Inputs, free_axes: FreeAxes) -> dict[str, int]:
    sizes = sizes_of(inputs, free_axes)
    return {symbol: size for symbol, size in sizes.items() if symbol != BATCH}


def _of_other_lengths(task: Task, free_axes: FreeAxes) -> Iterator[Inputs]:
    known = _lengths(task.example, free_axes)
    for inputs, _ in islice(task.train_batches(0), SEARCHED_BATCHES):
        found = _lengths(inputs, free_axes)
        if all(found[symbol] != size for symbol, size in known.items()):
            yield inputs
