"""Data held in memory and served in batches, with the loss and the score of classification."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from compressors.base import Inputs


@dataclass(frozen=True, kw_only=True)
class TensorBatches:
    """Batches of tensors: iterated in stored order, or called with an epoch for a shuffle."""

    inputs: Tensor
    """`[N, ...]`; bytes are stored as they are and served as floats in [0, 1]."""
    targets: Tensor
    """`[N]`."""
    batch_size: int
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    """Changes the inputs `[B, ...]` of each batch of an epoch at random, shape kept."""

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield `(inputs [B, ...], targets [B])` in stored order."""
        return self._batches(torch.arange(len(self.inputs)))

    def __call__(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield `(inputs [B, ...], targets [B])` in an order that depends on the epoch alone."""
        generator = torch.Generator().manual_seed(epoch)
        for inputs, targets in self._batches(torch.randperm(len(self.inputs), generator=generator)):
            yield self.augment(inputs, generator) if self.augment else inputs, targets

    def _batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            inputs = self.inputs[rows]
            served = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
            yield served, self.targets[rows]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits `[B, C]` for class numbers `[B]`, a scalar."""
    return functional.cross_entropy(outputs, targets)


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return 1.0 where the largest logit of `[B, C]` is at the class `[B]`, else 0.0; `[B]`."""
    return (outputs.argmax(dim=-1) == targets).float()
