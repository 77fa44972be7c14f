"""All groups of channels that can be cut out of a model, and why the rest cannot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs
from compressors.channels.attention.headed_attention import HeadedAttention
from compressors.channels.attention.heads import attention_heads
from compressors.channels.attention.opaque import opaque_attention
from compressors.channels.attention.projected import (
    ProjectedAttention,
    linear_children,
    projected_attention,
)
from compressors.channels.attention.projected_heads import coupled_heads, projected_heads
from compressors.channels.convolutional import OUTPUTS, coupled_channels
from compressors.channels.group import ChannelGroup, UntraceableError
from compressors.channels.labels.candidates import labelled_channels
from compressors.channels.layer_axes import output_axis
from compressors.channels.recurrent import recurrent_units
from compressors.channels.verification import unsoundness
from compressors.models.computed import computes_weights
from compressors.models.copying import copy_model
from compressors.models.trainable import require_gradients

LAYERS_WITH_CHANNELS = (
    _ConvNd,
    nn.Linear,
    nn.Embedding,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
"""Layers with channels; each is in a group or skipped for a reason."""


COMPUTED = (
    "its weight is computed anew in each pass (by a parametrisation or hook, such as weight norm); "
    "make it a plain parameter, and its channels can be cut"
)


@dataclass(frozen=True, kw_only=True)
class DiscoveredGroups:
    """The groups of channels that can be cut, and the layers that are in none."""

    groups: tuple[ChannelGroup, ...]
    """In the order of the model's modules."""
    skipped_layers: dict[str, str]
    """By the name of a layer, why its output channels stay."""


def find_channel_groups(model: nn.Module, example: Inputs) -> DiscoveredGroups:
    """Return the groups of a model whose attention was replaced (`replace_attention`).

    Each was tried: cutting one channel, or half of them, gives what zeros there do. Where
    the dependency graph gives no such group, the channels are followed by labels.

    Args:
        model: A frozen model in eval mode, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
    """
    candidates, skipped = _candidates(model, example)
    trial = _Trial(model=model, example=example, skipped=skipped)
    trial.accept(candidates)
    trial.accept(coupled_heads(trial.rejected_attention()))
    outward = {name for name, reason in skipped.items() if reason.startswith(OUTPUTS)}
    layers = {n for n, m in model.named_modules() if isinstance(m, LAYERS_WITH_CHANNELS)}
    if layers - trial.cut - outward:
        computed = [module for module in model.modules() if computes_weights(module)]
        for reading in labelled_channels(model, example, computed):
            trial.accept(reading.groups)
            trial.skipped = reading.reasons | trial.skipped
    order = {name: position for position, (name, _) in enumerate(model.named_modules())}
    return DiscoveredGroups(
        groups=tuple(sorted(trial.groups, key=lambda group: order[group.name])),
        skipped_layers={n: trial.reason(n) for n in order if n in layers - trial.cut},
    )


@dataclass(kw_only=True)
class _Trial:
    """The groups that were tried so far, and what became of them."""

    model: nn.Module
    example: Inputs
    skipped: dict[str, str]
    """By the name of a layer, why its channels were not followed."""
    rejected: dict[str, str] = field(default_factory=dict)
    """By the name of a layer, why its first group cannot be cut."""
    rejected_groups: list[ChannelGroup] = field(default_factory=list)
    groups: list[ChannelGroup] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)
    """The layers whose outputs are in an accepted group."""
    positions: set[tuple[str, int, int]] = field(default_factory=set)

    def accept(self, candidates: Iterable[ChannelGroup]) -> None:
        """Keep the groups that can be cut and have no position in common with one that is kept."""
        for group in candidates:
            taken = _positions([group])
            if taken & self.positions:
                continue
            layers = _producing_layers(self.model, group) if group.size > 1 else [group.name]
            reason = _rejection(self.model, self.example, group)
            if reason is None:
                self.groups.append(replace(group, name=layers[0]))
                self.cut |= set(layers)
                self.positions |= taken
            else:
                self.rejected = dict.fromkeys(layers, reason) | self.rejected
                self.rejected_groups.append(group)

    def rejected_attention(self) -> list[ChannelGroup]:
        """Return the rejected groups of attention that linear layers project to and from."""
        return [
            g for g in self.rejected_groups if linear_children(self.model.get_submodule(g.name))
        ]

    def reason(self, name: str) -> str:
        """Return why the channels of a layer stay that is in no group."""
        if computes_weights(self.model.get_submodule(name)):
            return COMPUTED
        unknown = "its channels were not followed to other layers' weights"
        return self.rejected.get(name) or self.skipped.get(name) or unknown


def _candidates(model: nn.Module, example: Inputs) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return all traced groups, disjoint, and by layer why its channels could not be traced."""
    traced = require_gradients(copy_model(model))
    attentions = _projected_attentions(traced, example)
    special, skipped = _heads_and_units(traced, example, attentions)
    claimed = _positions(special)
    with opaque_attention(attentions.values()):
        coupled, reasons = coupled_channels(traced, example)
    unclaimed = [group for group in coupled if not claimed & _positions([group])]
    return special + unclaimed, skipped | {n: r for n, r in reasons.items() if n not in skipped}


def _projected_attentions(model: nn.Module, example: Inputs) -> dict[str, ProjectedAttention]:
    """Return the attention that a model's own code computes, by the name of its module."""
    inside_replaced = {
        inner
        for module in model.modules()
        if isinstance(module, HeadedAttention)
        for inner in module.modules()
    }
    found = {
        name: projected_attention(model, example, module)
        for name, module in model.named_modules()
        if module not in inside_replaced
    }
    return {name: attention for name, attention in found.items() if attention is not None}


def _heads_and_units(
    model: nn.Module, example: Inputs, attentions: Mapping[str, ProjectedAttention]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return the groups of attention and recurrent layers, and by layer why it has none."""
    groups, skipped = [], {}
    for name, module in model.named_modules():
        if isinstance(module, HeadedAttention):
            groups.append(attention_heads(name, module))
        elif name in attentions:
            try:
                groups.append(projected_heads(model, example, name, attentions[name]))
            except UntraceableError:
                continue  # its layers are reported one by one
        elif isinstance(module, nn.RNNCellBase):
            skipped[name] = "it is called step by step, and its states are not followed"
        elif isinstance(module, nn.MultiheadAttention):
            skipped[name] = "it uses options that HeadedAttention does not have"
        elif isinstance(module, nn.RNNBase):
            try:
                groups.append(recurrent_units(model, example, name))
            except UntraceableError as reason:
                skipped[name] = str(reason)
    return groups, skipped


def _positions(groups: list[ChannelGroup]) -> set[tuple[str, int, int]]:
    """Return every position that goes with any channel: tensor, axis and index."""
    return {
        (part.tensor, part.axis, index)
        for group in groups
        for part in group.slices
        for index in part.indices.tolist()
    }


def _producing_layers(model: nn.Module, group: ChannelGroup) -> list[str]:
    """Return the layers whose output channels a group holds, in the order of the model."""
    held = {group.name}
    for part in group.slices:
        name = part.tensor.rpartition(".")[0]
        module = model.get_submodule(name)
        if isinstance(module, LAYERS_WITH_CHANNELS) and part.axis == output_axis(module):
            held.add(name)
    return [name for name, _ in model.named_modules() if name in held]


def _rejection(model: nn.Module, example: Inputs, group: ChannelGroup) -> str | None:
    """Return why a group cannot be cut, None if it can."""
    if group.size < 2:
        return "it has one channel"
    shared = _unequally_cut_sharer(model, group)
    if shared:
        return f"its weight is shared with {shared}, where other channels would go"
    reasons = (unsoundness(model, example, [(group, chosen)]) for chosen in _trial_cuts(group))
    return next((reason for reason in reasons if reason is not None), None)


def _trial_cuts(group: ChannelGroup) -> list[Tensor]:
    """Return the channels of each part for two trials, `[parts, count]`: one, and a drawn half.

    A half in order would be sound by chance where channels go in blocks.
    """
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(group.size, generator=generator) for _ in range(group.parts)]
    half = torch.stack(orders)[:, : group.size // 2]
    return [half, torch.zeros(group.parts, 1, dtype=torch.long)]


def _unequally_cut_sharer(model: nn.Module, group: ChannelGroup) -> str | None:
    """Return a name of a shared parameter that would lose other entries than its other names."""
    sharers: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        sharers.setdefault(id(parameter), []).append(name)
    lost: dict[str, set[tuple[int, int, int]]] = {}
    for part in group.slices:
        entries = zip(part.indices.tolist(), part.channels.tolist(), strict=True)
        lost.setdefault(part.tensor, set()).update((part.axis, i, c) for i, c in entries)
    for names in sharers.values():
        for name in names[1:]:
            if lost.get(name) != lost.get(names[0]):
                return name if names[0] in lost else names[0]
    return None
