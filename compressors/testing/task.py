"""A task that a compressor can be tried on: a network as the baseline, and samples to learn."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import batch_size
from compressors.outputs.spec import OutputSpec
from compressors.testing.data import take

BATCH = 64
"""Samples of a training batch."""


class ToyTask:
    """A classification task on samples held in memory."""

    def __init__(
        self,
        baseline: nn.Module,
        inputs: Inputs,
        targets: Tensor,
        outputs: OutputSpec = OutputSpec(kind="classes", axis=1),  # noqa: B008 - it is frozen
    ) -> None:
        """Keep the parts and compute the outputs of the baseline.

        Args:
            baseline: The model, in eval mode and frozen; its outputs hold logits `[B, C]`.
            inputs: All training samples `[B, ...]`.
            targets: Their classes `[B]`.
            outputs: Which tensor of the outputs the logits are.
        """
        self.baseline = baseline
        self.inputs = inputs
        self.targets = targets
        self.example = take(inputs, slice(4))
        self.outputs = outputs
        with torch.no_grad():
            self.logits: Tensor = outputs.select(run(baseline, inputs))
            """Logits of the baseline `[B, C]`."""

    def train_batches(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield inputs `[b, ...]` and targets `[b]`, in an order that the epoch determines."""
        for chosen in self._order(epoch):
            yield take(self.inputs, chosen), self.targets[chosen]

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Inputs, Tensor, Tensor]]:
        """Yield the same batches with the outputs of the baseline `[b, C]`."""
        for chosen in self._order(epoch):
            yield take(self.inputs, chosen), self.targets[chosen], self.logits[chosen]

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the cross-entropy of the outputs' logits against classes `[b]`, a scalar."""
        return F.cross_entropy(self.outputs.select(outputs), targets)

    def measured(
        self, key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> Mapping[str, NDArray[Any]]:
        """Return what `measure` returns; nothing is remembered."""
        return measure()

    def _order(self, epoch: int) -> Iterator[Tensor]:
        count = batch_size(self.inputs)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(epoch))
        return (order[start : start + BATCH] for start in range(0, count, BATCH))
