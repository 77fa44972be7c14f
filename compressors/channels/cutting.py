"""Chosen channels cut out of a model, or held at zero to see what they do."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from compressors.channels.group import ChannelGroup
from compressors.channels.width_attributes import update_width_attributes

Cut = tuple[ChannelGroup, Tensor]
"""A group and its chosen channels `[parts, count]`, each in [0, size)."""


def zero_channels(model: nn.Module, cuts: Sequence[Cut]) -> None:
    """Set all parameters that go with the chosen channels `[parts, count]` to zero, in place."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for (name, axis), indices in _removed_positions(cuts).items():
            if name in parameters:
                parameters[name].index_fill_(axis, indices.to(parameters[name].device), 0)


def cut_channels(model: nn.Module, cuts: Sequence[Cut]) -> None:
    """Remove the chosen channels from every tensor they go with, in place.

    Indices refer to the model as it is given: all cuts are made at once. Shared parameters stay
    shared.

    Args:
        model: The model that loses the channels.
        cuts: Groups of this model with their chosen channels, `[parts, count]` each.
    """
    removed = _removed_positions(cuts)
    smaller: dict[Tensor, Tensor] = {}
    cut: set[Tensor] = set()
    for name in dict.fromkeys(name for name, _ in removed):
        path, _, attribute = name.rpartition(".")
        module = model.get_submodule(path)
        old = cast(Tensor, getattr(module, attribute))
        if old in cut:  # another name of a module that was cut
            continue
        if old not in smaller:
            indices = [removed.get((name, axis)) for axis in range(old.dim())]
            smaller[old] = _without(old, indices)
            cut.add(smaller[old])
        setattr(module, attribute, smaller[old])
    for path in dict.fromkeys(name.rpartition(".")[0] for name, _ in removed):
        update_width_attributes(model.get_submodule(path))
    for group, chosen in cuts:
        for width in group.width_attributes:
            owner = model.get_submodule(width.module)
            value = getattr(owner, width.attribute) - width.per_channel * chosen.shape[1]
            setattr(owner, width.attribute, value)


def _without(old: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """Return a tensor, a parameter if it was one, without some positions of each of its axes."""
    new = old.detach()
    for axis, gone in enumerate(indices):
        if gone is not None:
            keep = torch.ones(new.shape[axis], dtype=torch.bool)
            keep[gone] = False
            new = new.index_select(axis, keep.nonzero()[:, 0].to(new.device))
    return nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new


def _removed_positions(cuts: Sequence[Cut]) -> dict[tuple[str, int], Tensor]:
    """Return for each axis of each tensor the positions `[N]` that go, each once."""
    found: dict[tuple[str, int], list[Tensor]] = {}
    for group, chosen in cuts:
        channels = (torch.arange(group.parts)[:, None] * group.size + chosen).flatten()
        for part in group.slices:
            goes = part.indices[torch.isin(part.channels, channels)]
            found.setdefault((part.tensor, part.axis), []).append(goes)
    return {key: torch.unique(torch.cat(parts)) for key, parts in found.items()}
