"""Recurrent layers as single steps of a traced graph, which torch-pruning cannot follow inside."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import output_tensors
from compressors.channels.layer_axes import RECURRENT


class RecurrentWidths:
    """What torch-pruning asks about a layer type, here about the coupling of channels alone."""

    pruning_dim = 1

    def get_out_channels(self, layer: Any) -> int:
        """Return the width of the states."""
        width = getattr(layer, "proj_size", 0) or layer.hidden_size
        return int(width * (1 + getattr(layer, "bidirectional", False)))

    def get_in_channels(self, layer: Any) -> int:
        """Return the width of the inputs."""
        return int(layer.input_size)

    def get_in_channel_groups(self, layer: Any) -> int:
        """Return 1: any input can go."""
        return 1

    def get_out_channel_groups(self, layer: Any) -> int:
        """Return 1."""
        return 1

    def prune_out_channels(self, layer: Any, idxs: Any) -> None:
        """Mark the direction of a dependency; never called."""
        raise NotImplementedError

    def prune_in_channels(self, layer: Any, idxs: Any) -> None:
        """Mark the direction of a dependency; never called."""
        raise NotImplementedError


class _Opaque(torch.autograd.Function):
    """One step of autograd's graph from a layer's input to all its outputs."""

    @staticmethod
    def forward(ctx: Any, _inputs: Tensor, *outputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(output.clone() for output in outputs)

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> Any:
        raise NotImplementedError


@contextmanager
def opaque_recurrent(model: nn.Module) -> Iterator[None]:
    """Show every recurrent layer as one step in autograd's graph, inside the block."""
    layers = [module for module in model.modules() if isinstance(module, RECURRENT)]
    for layer in layers:
        vars(layer)["forward"] = _opaque_forward(layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _opaque_forward(forward: Any) -> Any:
    def one_step(inputs: Any, *args: Any) -> Any:
        with torch.no_grad():
            outputs = forward(inputs, *args)
        tensor = inputs if isinstance(inputs, Tensor) else inputs.data
        opaque = _Opaque.apply(tensor, *output_tensors(outputs))  # type: ignore[no-untyped-call]
        return _with_tensors(outputs, iter(opaque))

    return one_step


def _with_tensors(value: Any, tensors: Iterator[Tensor]) -> Any:
    """Return a nesting of tuples with its tensors replaced by others, in order."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, tuple):
        items = [_with_tensors(item, tensors) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value
