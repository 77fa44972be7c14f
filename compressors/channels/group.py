"""Channels that can only be cut together, and all the slices of tensors that go with them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class UntraceableError(ValueError):
    """The channels of a layer do not end in columns of weights, one channel a column."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Positions on one axis of one parameter or buffer, and the channels that they belong to."""

    tensor: str
    """Name of the parameter or buffer in the state dict."""
    axis: int
    """Axis of the tensor."""
    indices: Tensor
    """Positions on the axis, `[N]`."""
    channels: Tensor
    """For each position the channel whose removal takes it away, `[N]`."""


@dataclass(frozen=True, kw_only=True)
class WidthAttribute:
    """An integer attribute of a module that counts channels, in a unit of its own."""

    module: str
    """Path of the module."""
    attribute: str
    """Name of the attribute."""
    per_channel: int
    """Decrease of the attribute for each channel that is cut."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelGroup:
    """The channels of a layer, units of a recurrent layer or heads of attention.

    They are numbered `part * size + position`. Every part loses the same number of channels.
    """

    name: str
    """Path of the layer whose output channels they are."""
    size: int
    """Channels of one part."""
    slices: tuple[Slice, ...]
    """Everything that goes with the channels."""
    parts: int = 1
    """Number of parts: one for each layer and direction of a recurrent layer."""
    width: int = 1
    """Outputs of the layer that one channel stands for: more than 1 for heads and groups."""
    width_attributes: tuple[WidthAttribute, ...] = ()
    """Attributes to update, beside those of the modules that own the tensors."""

    def scores(self, weight_scores: Mapping[str, Tensor]) -> Tensor:
        """Return for each channel the sum of the scores of the weights that go with it.

        Args:
            weight_scores: Scores of each weight in its shape `[O, I, *K]`, by the name of the
                parameter. Parameters without scores, such as biases, do not count.

        Returns:
            Scores of the channels, `[parts, size]`.
        """
        total = torch.zeros(self.parts * self.size)
        for part in self.slices:
            if part.tensor in weight_scores:
                rows = weight_scores[part.tensor].movedim(part.axis, 0)
                by_index = rows.reshape(rows.shape[0], -1).sum(1)[part.indices]
                total.index_add_(0, part.channels, by_index.cpu().float())
        return total.view(self.parts, self.size)

    def weights(self, model: nn.Module) -> int:
        """Return the number of parameters that go with the channels of the group in all.

        A parameter that goes with two channels counts twice.
        """
        parameters = dict(model.named_parameters())
        count = 0
        for part in self.slices:
            if part.tensor in parameters:
                tensor = parameters[part.tensor]
                count += tensor.numel() // tensor.shape[part.axis] * len(part.indices)
        return count
