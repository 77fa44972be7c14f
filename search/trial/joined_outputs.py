"""Outputs of several batches as those of one batch, of any structure."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compressors.outputs.structure import named_tensors, rebuild


class JoinedOutputs:
    """The outputs for all samples, of which any can be taken.

    Where batches differ in length, `[B, T, ...]`, all are padded at the end with 0 to the longest.
    """

    def __init__(self, batches: Sequence[Any], sizes: Sequence[int]) -> None:
        """Join nothing yet.

        Args:
            batches: Outputs for each batch, of one structure with tensors of any shape.
            sizes: Samples of each batch.
        """
        self._like = batches[0]
        tensors = [named_tensors(outputs) for outputs in batches]
        self._parts = {name: [batch[name] for batch in tensors] for name in tensors[0]}
        self._axes = {name: _sample_axis(part, sizes) for name, part in self._parts.items()}

    @property
    def differ_in_length(self) -> bool:
        """Whether any outputs are to be padded."""
        return any(
            differ_in_length(part, axis)
            for name, part in self._parts.items()
            if (axis := self._axes[name]) is not None
        )

    def all(self) -> Any:
        """Return the outputs for all samples in the structure of a batch's."""
        return rebuild(self._like, self._tensors)

    def take(self, chosen: Tensor) -> Any:
        """Return the outputs for the samples with these numbers `[N]`."""
        taken = {name: self._taken(name, chosen) for name in self._tensors}
        return rebuild(self._like, taken)

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return {name: _joined(part, self._axes[name]) for name, part in self._parts.items()}

    def _taken(self, name: str, chosen: Tensor) -> Tensor:
        axis = self._axes[name]
        tensor = self._tensors[name]
        return tensor if axis is None else tensor.index_select(axis, chosen.to(tensor.device))


def differ_in_length(tensors: Sequence[Tensor], axis: int) -> bool:
    """Return whether tensors have other shapes, but for this axis."""
    return len({tensor.shape[:axis] + tensor.shape[axis + 1 :] for tensor in tensors}) > 1


def padded(tensors: Sequence[Tensor], axis: int, value: float = 0) -> list[Tensor]:
    """Return tensors with a value at the end of each axis but one, up to the longest.

    Args:
        tensors: Tensors of any shapes, with equal numbers of axes.
        axis: The axis that stays as it is.
        value: What is added.
    """
    longest = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]

    def missing(tensor: Tensor) -> list[int]:
        pairs = enumerate(zip(longest, tensor.shape, strict=True))
        ends = [0 if place == axis else most - size for place, (most, size) in pairs]
        return [count for end in reversed(ends) for count in (0, end)]

    return [F.pad(tensor, missing(tensor), value=value) for tensor in tensors]


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
        alike = not differ_in_length(tensors, axis)
        return torch.cat(list(tensors) if alike else padded(tensors, axis), axis)
    alike = all(tensor.shape == tensors[0].shape for tensor in tensors)
    averages = alike and tensors[0].is_floating_point()
    return torch.stack(list(tensors)).mean(0) if averages else tensors[0]
