"""Layers and numbers of a model brought to the forms that every method can handle."""

from contextlib import ExitStack
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressors.base import Inputs, run
from compressors.models.hooks import forward_pre_hooks
from compressors.models.replacing import replace_module

BATCH_NORMS: dict[int, type[_BatchNorm]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
"""By the number of axes of the input."""
T = TypeVar("T")


def ordinary_batch_norm(model: nn.Module, example: Inputs) -> list[str]:
    """Replace synchronised batch-norm by the layer for the inputs that it gets, in place.

    A layer that the example does not reach stays as it is.

    Args:
        model: The model, in eval mode.
        example: One batch of inputs `[B, ...]`.

    Returns:
        What was done, one clause; empty if there is no such layer.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    if not layers:
        return []
    axes: dict[nn.Module, int] = {}

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        axes[module] = args[0].dim()

    with ExitStack() as stack:
        stack.enter_context(forward_pre_hooks(layers, note))
        run(model, example)
    for layer, count in axes.items():
        replace_module(model, layer, _ordinary(layer, BATCH_NORMS[count]))
    return [f"{len(axes)} SyncBatchNorm layers are ordinary batch-norm"]


def _ordinary(layer: nn.Module, made: type[_BatchNorm]) -> _BatchNorm:
    """Return a batch-norm layer with the parameters, buffers and mode of another."""
    assert isinstance(layer, nn.SyncBatchNorm)
    fresh = made(
        layer.num_features,
        layer.eps,
        layer.momentum,
        layer.affine,
        layer.track_running_stats,
    )
    fresh._parameters, fresh._buffers = layer._parameters, layer._buffers
    return fresh.train(layer.training)


def dense_gradients(model: nn.Module) -> list[str]:
    """Give embeddings dense gradients, in place: no optimiser for both kinds exists in torch."""
    tables = [
        module
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse
    ]
    for table in tables:
        table.sparse = False
    return [f"{len(tables)} embeddings have dense gradients instead of sparse"] if tables else []


def to_float32(model: nn.Module) -> list[str]:
    """Cast the floating parameters and buffers of a model to float32, in place.

    Floating tensors that modules keep as plain attributes are cast along with them.

    Returns:
        What was done, one clause; empty if all were float32.
    """
    tensors = [*model.parameters(), *model.buffers()]
    others = {str(t.dtype).removeprefix("torch.") for t in tensors if _other_float(t)}
    if not others:
        return []
    model.float()
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and _other_float(value):
                setattr(module, name, value.float())
    return [f"{' and '.join(sorted(others))} is cast to float32"]


def in_float32(value: T) -> T:
    """Return one tensor of any shape, or a tuple, list or mapping of them, all floats as float32.

    Anything else is returned as it is.
    """
    cast: object = value
    if isinstance(value, Tensor):
        cast = value.float() if _other_float(value) else value
    elif isinstance(value, dict):
        cast = {name: in_float32(item) for name, item in value.items()}
    elif isinstance(value, tuple | list):
        items = [in_float32(item) for item in value]
        cast = type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return cast  # type: ignore[return-value]


def _other_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype != torch.float32
