"""Comparison of the features of a student and of its teacher, which may differ in width."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, Task, run
from compressors.errors import InfeasibleError
from compressors.models.calibration import device_of, first_samples, to_device
from compressors.models.fused_attention import plain_attention
from compressors.models.hooks import forward_pre_hooks


class LastFeatures:
    """Records the input of the last linear or convolution layer of a model, in this context.

    The last layer is the one that is called last in a forward pass.
    """

    def __init__(self, model: nn.Module, layer: nn.Module | None = None) -> None:
        """Keep the layers.

        Args:
            model: The model.
            layer: The only layer to record, None for the last.
        """
        layers = [m for m in model.modules() if isinstance(m, nn.Linear | _ConvNd)]
        self._layers = layers if layer is None else [layer]
        self._hooks = ExitStack()
        self.value: Tensor | None = None
        """`[B, ...]` of the latest forward pass; None before one, or without such a layer."""
        self.layer: nn.Module | None = None
        """The layer that was given the value."""

    def __enter__(self) -> Self:
        self._hooks = forward_pre_hooks(self._layers, self._record)
        return self

    def __exit__(self, *_error: object) -> None:
        self._hooks.close()

    def _record(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            self.value, self.layer = args[0], layer


def last_layer(model: nn.Module, example: Inputs) -> nn.Module | None:
    """Return the linear or convolution layer that is called last in eval mode, None without one.

    In training an auxiliary head may be called after it.

    Args:
        model: A model in eval mode.
        example: One batch of inputs `[B, ...]` on any device.
    """
    few = to_device(first_samples(example, 2), device_of(model))
    with torch.no_grad(), plain_attention(), LastFeatures(model) as features:
        run(model, few)
    return features.layer


def feature_batches(task: Task, epoch: int) -> Iterator[tuple[Inputs, Any, Any, Tensor]]:
    """Yield `(inputs, targets, distilled output, last features)` of the baseline for an epoch.

    Inputs and features are `[B, ...]`.

    Raises:
        InfeasibleError: the baseline has no linear or convolution layer.
    """
    device = device_of(task.baseline)
    for inputs, targets in task.train_batches(epoch):
        with torch.no_grad(), plain_attention(), LastFeatures(task.baseline) as features:
            outputs = run(task.baseline, to_device(inputs, device))
        if features.value is None:
            raise InfeasibleError(
                "distillation: features need a linear or convolution layer in the baseline"
            )
        yield inputs, targets, task.outputs.select(outputs), features.value


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return how much the similarities between the samples of a batch differ in two models.

    The loss is the squared distance between the two matrices of inner products between samples,
    with each row scaled to length one, divided by B (Tung & Mori, 2019, arXiv:1907.09682, divide
    by the square of B; then the loss depends on the batch size).

    Args:
        student: Features `[B, ...]`.
        teacher: Features `[B, ...]`; the shape after B may differ.

    Returns:
        A scalar.
    """
    distance = (_similarities(student) - _similarities(teacher)).square().sum()
    return distance / len(student)


def _similarities(features: Tensor) -> Tensor:
    """Return the inner products of samples `[B, B]`, each row of length one."""
    rows = features.flatten(1).float()
    return F.normalize(rows @ rows.T, dim=1)
