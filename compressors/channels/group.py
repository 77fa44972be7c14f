"""Channels that can only be cut together, and all the slices of tensors that go with them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """Positions on one axis of one parameter or buffer, and the channels that they belong to."""

    tensor: str
    """The name in the state dict."""
    axis: int
    indices: Tensor
    """[n], the positions."""
    channels: Tensor
    """[n], for each position the channel whose cutting takes it away."""


@dataclass(frozen=True, kw_only=True)
class Stated:
    """An integer of a module that says how many channels there are, in its own unit."""

    module: str
    attribute: str
    amount: int
    """What it falls by with each channel."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelGroup:
    """The channels of a layer, units of a recurrent layer or heads of attention.

    They are numbered `part * size + position`. Every part loses as many as the others.
    """

    name: str
    """The path of the layer whose output channels they are."""
    size: int
    """The channels of one part."""
    slices: tuple[Slice, ...]
    parts: int = 1
    """A stacked or bidirectional recurrent layer has one part for each layer and direction."""
    width: int = 1
    """The layer's outputs that one channel stands for: more than 1 for heads and groups."""
    stated: tuple[Stated, ...] = ()
    """What to keep in line beside the tensors' own modules."""

    def scores(self, weight_scores: Mapping[str, Tensor]) -> Tensor:
        """Return for each channel the sum of the scores of the weights it takes away.

        Args:
            weight_scores: By the name of a parameter, a tensor of its shape. Others, such as
                biases, do not count.

        Returns:
            `[parts, size]`
        """
        total = torch.zeros(self.parts * self.size)
        for part in self.slices:
            if part.tensor in weight_scores:
                rows = weight_scores[part.tensor].movedim(part.axis, 0)
                by_index = rows.reshape(rows.shape[0], -1).sum(1)[part.indices]
                total.index_add_(0, part.channels, by_index.cpu().float())
        return total.view(self.parts, self.size)

    def weights(self, model: nn.Module) -> int:
        """Return how many parameters go with the channels of the group, all together."""
        parameters = dict(model.named_parameters())
        count = 0
        for part in self.slices:
            if part.tensor in parameters:
                tensor = parameters[part.tensor]
                count += tensor.numel() // tensor.shape[part.axis] * len(part.indices)
        return count
