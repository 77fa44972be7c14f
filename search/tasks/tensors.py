"""Data held in memory and served in batches, with the loss and the score of classification."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from compressors.base import Inputs
from search.errors import ConfigError


def unit_floats(inputs: Tensor) -> Tensor:
    """Return bytes of any shape as floats in [0, 1], and floats as they are."""
    return inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs


@dataclass(frozen=True, kw_only=True)
class TensorBatches:
    """Batches of tensors: iterated in stored order, or called with an epoch for a shuffle."""

    inputs: Tensor
    """`[N, ...]`, bytes or what the model takes."""
    targets: Tensor
    """`[N]`."""
    batch_size: int
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    """Changes the stored inputs `[B, ...]` of each batch of an epoch at random, shape kept."""
    served: Callable[[Tensor], Tensor] = unit_floats
    """From stored inputs `[B, ...]` to those that the model takes."""

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield `(inputs [B, ...], targets [B])` in stored order."""
        for rows in self._rows(torch.arange(len(self.inputs))):
            yield self.served(self.inputs[rows]), self.targets[rows]

    def __call__(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield `(inputs [B, ...], targets [B])` in an order that depends on the epoch alone."""
        generator = torch.Generator().manual_seed(epoch)
        for rows in self._rows(torch.randperm(len(self.inputs), generator=generator)):
            inputs = self.inputs[rows]
            changed = self.augment(inputs, generator) if self.augment else inputs
            yield self.served(changed), self.targets[rows]

    def _rows(self, order: Tensor) -> Iterator[Tensor]:
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]


def first_rows(batches: TensorBatches, count: int | None, key: str) -> TensorBatches:
    """Return the first `count` rows, or all of them if it is None.

    Raises:
        ConfigError: There are not so many, or none are wanted; `key` names the value.
    """
    total = len(batches.inputs)
    whole = isinstance(count, int) and not isinstance(count, bool)
    if count is not None and not (whole and 1 <= count <= total):
        raise ConfigError(f"{key} must be in [1, {total}], or null for all of them, got {count!r}")
    return replace(batches, inputs=batches.inputs[:count], targets=batches.targets[:count])


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits `[B, C]` for class numbers `[B]`, a scalar."""
    return functional.cross_entropy(outputs, targets)


def correct(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return 1.0 where the largest logit of `[B, C]` is at the class `[B]`, else 0.0; `[B]`."""
    return (outputs.argmax(dim=-1) == targets).float()
