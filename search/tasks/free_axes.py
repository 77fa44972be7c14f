"""The axes of a model's inputs whose size is not the same in every batch."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressors.base import Inputs
from search.errors import ConfigError

FreeAxes = Mapping[str, Mapping[int, str]]
"""By the name of an input, the free axes and their symbols; equal symbols have equal sizes."""
Shapes = Mapping[str, NDArray[np.int64]]
"""By the name of an input, its shape in each of n batches, `[n, rank]`."""

BATCH = "batch"
"""Symbol of the first axis of every input."""
LENGTH = "length"
"""Symbol of the other free axes, with a number where they differ from each other."""


def named_tensors(inputs: Inputs) -> dict[str, Tensor]:
    """Return the tensors `[B, ...]` of a batch by the names of the inputs.

    They are `input` for a tensor, `input_0`, `input_1` ... for a tuple, the keys for a mapping.
    """
    if isinstance(inputs, Tensor):
        return {"input": inputs}
    if isinstance(inputs, Mapping):
        return dict(inputs)
    return {f"input_{position}": tensor for position, tensor in enumerate(inputs)}


def batch_axes(example: Inputs) -> FreeAxes:
    """Return the first axis of every input of a batch `[B, ...]` as the only free one."""
    return {name: {0: BATCH} for name in named_tensors(example)}


def observed_shapes(batches: Iterable[Inputs]) -> Shapes:
    """Return the distinct shapes of the inputs of batches `[B, ...]`, in the order of their names.

    Raises:
        ConfigError: The batches differ in the names of their inputs or in their numbers of axes.
    """
    found: dict[tuple[tuple[int, ...], ...], None] = {}
    names: list[str] = []
    ranks: list[int] = []
    for inputs in batches:
        tensors = named_tensors(inputs)
        names = names or sorted(tensors)
        ranks = ranks or [tensors[name].ndim for name in names]
        if names != sorted(tensors) or ranks != [tensors[name].ndim for name in names]:
            seen = {name: list(tensor.shape) for name, tensor in tensors.items()}
            raise ConfigError(
                f"every batch must have the inputs {', '.join(names)} with {ranks} axes, got {seen}"
            )
        found.setdefault(tuple(tuple(tensors[name].shape) for name in names))
    return {
        name: np.array([shapes[place] for shapes in found], np.int64)
        for place, name in enumerate(names)
    }


def free_axes(shapes: Shapes, declared: Mapping[str, Sequence[int]]) -> FreeAxes:
    """Return the axes whose size differs between batches, those declared, and the first ones.

    Axes that have the same size in every batch share a symbol.

    Args:
        shapes: The shapes of the inputs, `[n, rank]` each.
        declared: By the name of an input, the axes that are free whatever the batches show.
    """
    free = {
        (name, axis): tuple(sizes[:, axis].tolist())
        for name, sizes in shapes.items()
        for axis in range(1, sizes.shape[1])
        if axis in declared.get(name, ()) or len(set(sizes[:, axis].tolist())) > 1
    }
    distinct = list(dict.fromkeys(free.values()))
    numbered = [f"{LENGTH}_{number}" for number, _ in zip(count(), distinct, strict=False)]
    symbols = dict(zip(distinct, [LENGTH] if len(distinct) == 1 else numbered, strict=True))
    axes: dict[str, dict[int, str]] = {name: {0: BATCH} for name in shapes}
    for (name, axis), sizes in free.items():
        axes[name][axis] = symbols[sizes]
    return axes


def checked_axes(declared: Any, example: Inputs) -> dict[str, tuple[int, ...]]:
    """Return the axes that a task declares as free, checked against a batch `[B, ...]`.

    Raises:
        ConfigError: An input is unknown, or an axis is not in [1, rank - 1].
    """
    tensors = named_tensors(example)
    if not isinstance(declared, Mapping) or not declared.keys() <= tensors.keys():
        raise ConfigError(
            f"free_axes must map some of the inputs {', '.join(tensors)} to their free axes, "
            f"such as {{'{next(iter(tensors))}': [1]}}, got {declared!r}"
        )
    for name, axes in declared.items():
        last = tensors[name].ndim - 1
        for axis in axes:
            if not 1 <= axis <= last:
                raise ConfigError(
                    f"free_axes of {name} must be in [1, {last}], beside axis 0, which is free "
                    f"for every input; got {axis!r}"
                )
    return {name: tuple(axes) for name, axes in declared.items()}


def sizes_of(inputs: Inputs, axes: FreeAxes) -> dict[str, int]:
    """Return the size of each symbol in a batch of inputs `[B, ...]`."""
    tensors = named_tensors(inputs)
    return {
        symbol: tensors[name].shape[axis]
        for name, free in axes.items()
        for axis, symbol in free.items()
    }


def cut(inputs: Inputs, axes: FreeAxes, sizes: Mapping[str, int]) -> Inputs:
    """Return the beginning of a batch `[B, ...]` along its free axes.

    Args:
        inputs: The batch.
        axes: The free axes.
        sizes: By symbol, the size to keep; other axes stay whole.
    """

    def shortened(name: str, tensor: Tensor) -> Tensor:
        for axis, symbol in axes[name].items():
            if symbol in sizes:
                tensor = tensor.index_select(axis, torch.arange(sizes[symbol]))
        return tensor

    parts = {name: shortened(name, tensor) for name, tensor in named_tensors(inputs).items()}
    if isinstance(inputs, Tensor):
        return parts["input"]
    return parts if isinstance(inputs, Mapping) else tuple(parts.values())


def shapes_of_one(inputs: Inputs) -> dict[str, list[int]]:
    """Return the shape of each input of one sample of a batch `[B, ...]`, with 1 as the first."""
    return {name: [1, *tensor.shape[1:]] for name, tensor in named_tensors(inputs).items()}
