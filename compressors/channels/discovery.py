"""All groups of channels that can be cut out of a model, and why the rest cannot."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs
from compressors.channels.attention_heads import attention_heads
from compressors.channels.convolutional import coupled_channels
from compressors.channels.group import ChannelGroup, UntraceableError
from compressors.channels.headed_attention import HeadedAttention
from compressors.channels.layer_axes import output_axis
from compressors.channels.opaque_attention import opaque_attention
from compressors.channels.projected_attention import (
    ProjectedAttention,
    linear_children,
    projected_attention,
)
from compressors.channels.projected_heads import coupled_heads, projected_heads
from compressors.channels.recurrent import recurrent_units
from compressors.channels.verification import is_sound
from compressors.models.copying import copy_model

LAYERS_WITH_CHANNELS = (
    _ConvNd,
    nn.Linear,
    nn.Embedding,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
"""Layers with channels; each is in a group or skipped for a reason."""


@dataclass(frozen=True, kw_only=True)
class DiscoveredGroups:
    """The groups of channels that can be cut, and the layers that are in none."""

    groups: tuple[ChannelGroup, ...]
    """In the order of the model's modules."""
    skipped_layers: dict[str, str]
    """By the name of a layer, why its output channels stay."""


def find_channel_groups(model: nn.Module, example: Inputs) -> DiscoveredGroups:
    """Return the groups of a model whose attention was replaced (`replace_attention`).

    Each was tried: cutting half of it gives what the model computes with that half at zero.

    Args:
        model: A frozen model in eval mode, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
    """
    candidates, skipped = _candidates(model, example)
    rejected = []
    groups = []
    for group in candidates:
        reason = _rejection(model, example, group)
        if reason is None:
            groups.append(_named(model, group))
        else:
            rejected.append(group)
            skipped |= dict.fromkeys(_producing_layers(model, group), reason)
    attentions = [group for group in rejected if linear_children(model.get_submodule(group.name))]
    joined = coupled_heads(attentions)
    groups += [_named(model, g) for g in joined if _rejection(model, example, g) is None]
    order = {name: position for position, (name, _) in enumerate(model.named_modules())}
    groups.sort(key=lambda group: order[group.name])
    cut = {layer for group in groups for layer in _producing_layers(model, group)}
    for name, module in model.named_modules():
        if isinstance(module, LAYERS_WITH_CHANNELS):
            skipped.setdefault(name, "its channels were not followed to other layers' weights")
    return DiscoveredGroups(
        groups=tuple(groups), skipped_layers={n: r for n, r in skipped.items() if n not in cut}
    )


def _named(model: nn.Module, group: ChannelGroup) -> ChannelGroup:
    """Return a group under the name of its first layer."""
    return replace(group, name=_producing_layers(model, group)[0])


def _candidates(model: nn.Module, example: Inputs) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return all traced groups, disjoint, and by layer why its channels could not be traced."""
    traced = copy_model(model).requires_grad_(True)
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
    half = torch.arange(group.size // 2).expand(group.parts, -1)
    if not is_sound(model, example, [(group, half)]):
        return "its width is written into the model's code"
    return None


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
