"""Outputs of several batches as those of one batch, of any structure."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from compressors.outputs.structure import named_tensors, rebuild


class JoinedOutputs:
    """The outputs for all samples, of which any can be taken."""

    def __init__(self, batches: Sequence[Any], sizes: Sequence[int]) -> None:
        """Join the outputs.

        Args:
            batches: Outputs for each batch, of one structure with tensors of any shape.
            sizes: Samples of each batch.
        """
        self._like = batches[0]
        self._samples = sum(sizes)
        tensors = [named_tensors(outputs) for outputs in batches]
        parts = {name: [batch[name] for batch in tensors] for name in tensors[0]}
        self._axes = {name: _sample_axis(part, sizes) for name, part in parts.items()}
        self._tensors = {name: _joined(part, self._axes[name]) for name, part in parts.items()}

    def all(self) -> Any:
        """Return the outputs for all samples in the structure of a batch's."""
        return rebuild(self._like, self._tensors)

    def take(self, chosen: Tensor) -> Any:
        """Return the outputs for the samples with these numbers `[N]`."""
        taken = {name: self._taken(name, chosen) for name in self._tensors}
        return rebuild(self._like, taken)

    def _taken(self, name: str, chosen: Tensor) -> Tensor:
        axis = self._axes[name]
        tensor = self._tensors[name]
        return tensor if axis is None else tensor.index_select(axis, chosen.to(tensor.device))


def _sample_axis(tensors: Sequence[Tensor], sizes: Sequence[int]) -> int | None:
    """Return the first axis that has the length of every batch; None if there is none."""
    for axis in range(tensors[0].dim()):
        if all(t.shape[axis : axis + 1] == (n,) for t, n in zip(tensors, sizes, strict=True)):
            return axis
    return None


def _joined(tensors: Sequence[Tensor], axis: int | None) -> Tensor:
    """Return tensors joined on the axis of samples; without one, the mean of equal shapes.

    What has neither samples nor one shape, or is no number to average, is that of the first batch.
    """
    if axis is not None:
        return torch.cat(list(tensors), axis)
    alike = all(tensor.shape == tensors[0].shape for tensor in tensors)
    averages = alike and tensors[0].is_floating_point()
    return torch.stack(list(tensors)).mean(0) if averages else tensors[0]
