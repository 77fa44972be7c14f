"""Outputs of any structure as the named outputs of a graph."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import batch_size, first_samples
from compressors.outputs.structure import LONE, named_tensors

Axes = Mapping[str, Mapping[int, str]]
"""By output, the names of its free axes."""


@contextmanager
def flat_outputs(model: nn.Module) -> Iterator[None]:
    """Make a model return a tuple of its output tensors in order, inside the block.

    The names of its modules and the signature of `forward` stay. A tensor that is returned twice,
    or that is an input, is copied: a graph has one name for a value.
    """
    forward = model.forward

    @wraps(forward)
    def flat(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        outputs = named_tensors(forward(*args, **kwargs)).values()
        seen = {id(tensor) for tensor in named_tensors([args, kwargs]).values()}
        return tuple(_once(tensor, seen) for tensor in outputs)

    own = vars(model).get("forward")
    vars(model)["forward"] = flat
    try:
        yield
    finally:
        if own is None:
            del vars(model)["forward"]
        else:
            vars(model)["forward"] = own


def output_axes(model: nn.Module, example: Inputs, taken: Collection[str]) -> Axes:
    """Return the outputs of a graph by name, in order, each with its axis of samples.

    An output with the name of an input or of a number gets another name.

    Args:
        model: The model, in eval mode.
        example: One batch of inputs `[B, ...]`, B at least 2.
        taken: Names of the graph's inputs.
    """
    samples = batch_size(example)
    with torch.no_grad():
        whole = named_tensors(run(model, example))
        one = named_tensors(run(model, first_samples(example, 1)))
    return {
        _free_name(name, taken): {
            axis: "batch"
            for axis, size in enumerate(tensor.shape)
            if size == samples and name in one and one[name].shape[axis : axis + 1] == (1,)
        }
        for name, tensor in whole.items()
    }


def _free_name(name: str, taken: Collection[str]) -> str:
    if name[:1].isdigit():
        return _free_name(f"{LONE}_{name}", taken)
    return _free_name(f"{name}_out", taken) if name in taken else name


def _once(tensor: Tensor, seen: set[int]) -> Tensor:
    new = id(tensor) not in seen
    seen.add(id(tensor))
    return tensor if new else tensor.clone()
