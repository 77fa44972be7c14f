"""Batches that batch-norm in training refuses: one value per channel has no variance."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressors.base import Inputs, run
from compressors.models.calibration import batch_size
from compressors.models.hooks import forward_pre_hooks


class _OneValueError(Exception):
    """A batch-norm layer in training gets one value per channel."""


class SmallBatches:
    """Says of batches whether a model with batch-norm can be trained on them."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._known: dict[str, bool] = {}

    def refused(self, inputs: Inputs) -> bool:
        """Return whether batch-norm would get one value per channel from a batch `[B, ...]`.

        Batches of one are tried on the model in its present mode, once for each shape.
        """
        if batch_size(inputs) != 1 or not _norms(self._model):
            return False
        shapes = _shapes(inputs)
        if shapes not in self._known:
            self._known[shapes] = _is_refused(self._model, inputs)
        return self._known[shapes]


def _is_refused(model: nn.Module, inputs: Inputs) -> bool:
    """Try a batch on the model itself, whose buffers are then as they were before."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[]), torch.no_grad(), _watched(model):
        try:
            run(model, inputs)
        except _OneValueError:
            return True
        finally:
            for buffer, value in before:
                buffer.copy_(value)
    return False


@contextmanager
def _watched(model: nn.Module) -> Iterator[None]:
    """Have batch-norm layers raise `_OneValueError` before torch raises its own error."""

    def check(layer: nn.Module, args: tuple[Any, ...]) -> None:
        if layer.training and args[0].numel() == args[0].shape[1]:
            raise _OneValueError

    with forward_pre_hooks(_norms(model), check):
        yield


def _norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def _shapes(inputs: Inputs) -> str:
    if isinstance(inputs, torch.Tensor):
        return str(tuple(inputs.shape))
    tensors = inputs.values() if hasattr(inputs, "values") else inputs
    return str([tuple(tensor.shape) for tensor in tensors])
