"""Batches of calibration data, their size and their device."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from compressors.base import Inputs, Task

T = TypeVar("T")

FEW_SAMPLES = 2
"""Samples that suffice wherever only the structure of a model is looked at."""


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter or buffer, the CPU if it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def to_device(value: T, device: torch.device) -> T:
    """Return a tensor of any shape, or a tuple, list or mapping of tensors, on a device."""
    moved: object = value
    if isinstance(value, Tensor):
        moved = value.to(device)
    elif isinstance(value, Mapping):
        moved = {name: to_device(item, device) for name, item in value.items()}
    elif isinstance(value, tuple | list):
        items = [to_device(item, device) for item in value]
        moved = type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return moved  # type: ignore[return-value]


def batch_size(inputs: Inputs) -> int:
    """Return the number of samples B of one batch of inputs `[B, ...]`."""
    if isinstance(inputs, Tensor):
        return inputs.shape[0]
    first = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs[0]
    return first.shape[0]


def first_samples(inputs: Inputs, count: int) -> Inputs:
    """Return the first `count` samples `[count, ...]` of a batch of inputs `[B, ...]`."""
    if isinstance(inputs, Tensor):
        return inputs[:count]
    if isinstance(inputs, Mapping):
        return {name: tensor[:count] for name, tensor in inputs.items()}
    return tuple(tensor[:count] for tensor in inputs)


def few(inputs: Inputs) -> Inputs:
    """Return the first samples `[2, ...]` of a batch `[B, ...]`, enough to find structure.

    A batch may hold hundreds of large images, and structure is looked at again and again.
    """
    return first_samples(inputs, FEW_SAMPLES)


def calibration_batches(task: Task, device: torch.device, samples: int = 256) -> Iterator[Inputs]:
    """Yield the inputs `[B, ...]` of the first training batches.

    Args:
        task: The source of training data.
        device: Where the batches go.
        samples: Number of samples at which the batches end; the batch that reaches it is whole.
    """
    for inputs, _ in labelled_batches(task, device, samples):
        yield inputs


def labelled_batches(
    task: Task, device: torch.device, samples: int = 256
) -> Iterator[tuple[Inputs, Any]]:
    """Yield the batches of `calibration_batches`, inputs `[B, ...]`, with their targets."""
    for inputs, targets in first_batches(task.train_batches(0), samples):
        yield to_device(inputs, device), to_device(targets, device)


def first_batches(batches: Iterable[tuple[Any, ...]], samples: int) -> Iterator[tuple[Any, ...]]:
    """Yield batches, inputs `[B, ...]` first, until they hold so many samples; each is whole."""
    yielded = 0
    for batch in batches:
        yield batch
        yielded += batch_size(batch[0])
        if yielded >= samples:
            return
