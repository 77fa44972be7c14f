"""Features of a student compared with its teacher's, whatever their widths."""

from contextlib import ExitStack
from typing import Any, Self

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressors.models.hooks import forward_pre_hooks


class LastFeatures:
    """What the last linear or convolution layer of a model is given, while in this context.

    Last means called last in a forward pass: the layer that makes the outputs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layers = [m for m in model.modules() if isinstance(m, nn.Linear | _ConvNd)]
        self._hooks = ExitStack()
        self.value: Tensor | None = None
        """`[B, ...]` of the latest forward pass; None before one, or without such a layer."""

    def __enter__(self) -> Self:
        self._hooks = forward_pre_hooks(self._layers, self._record)
        return self

    def __exit__(self, *_error: object) -> None:
        self._hooks.close()

    def _record(self, _layer: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            self.value = args[0]


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how differently two models see the samples of a batch as alike, a scalar.

    It is the squared distance of the two matrices of inner products between samples, each row
    brought to length one, summed and divided by B (Tung & Mori, 2019, arXiv:1907.09682, who divide
    by the square of B, which makes the size of the loss depend on the batch).

    Args:
        student: Features `[B, ...]`.
        teacher: Features `[B, ...]`, of any other shape after B.
    """
    distance = (_similarities(student) - _similarities(teacher)).square().sum()
    return distance / len(student)


def _similarities(features: Tensor) -> Tensor:
    """Return the inner products of samples `[B, B]`, each row of length one."""
    rows = features.flatten(1).float()
    return F.normalize(rows @ rows.T, dim=1)
