"""All groups of channels that can be cut out of a model, and why the rest cannot."""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs
from compressors.channels.attention_heads import attention_heads
from compressors.channels.convolutional import coupled_channels
from compressors.channels.cutting import is_sound
from compressors.channels.group import ChannelGroup
from compressors.channels.headed_attention import HeadedAttention
from compressors.channels.recurrent import recurrent_units
from compressors.channels.split_attention import may_be_split_attention, split_attention_heads
from compressors.channels.tracing import UntraceableError
from compressors.models.copying import copy_model

WIDE = (_ConvNd, nn.Linear, nn.Embedding, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
"""Layers with channels; each is in a group or left for a reason."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What can be cut and what not."""

    groups: tuple[ChannelGroup, ...]
    left: dict[str, str]
    """By the name of a layer, why its output channels stay."""


def find_channel_groups(model: nn.Module, example: Inputs) -> Found:
    """Return the groups of a model whose attention was opened (`open_attention`).

    Each was tried: cutting half of it leaves what the model computes with that half at zero.
    """
    traced = copy_model(model).requires_grad_(True)
    candidates, left = _special(traced, example)
    claimed = _places(candidates)
    coupled, reasons = coupled_channels(traced, example)
    left |= {name: reason for name, reason in reasons.items() if name not in left}
    candidates += [group for group in coupled if not claimed & _places([group])]
    groups = []
    for group in candidates:
        reason = _objection(model, example, group)
        if reason is None:
            groups.append(replace(group, name=_layers(model, group)[0]))
        else:
            left |= dict.fromkeys(_layers(model, group), reason)
    order = {name: position for position, (name, _) in enumerate(model.named_modules())}
    groups.sort(key=lambda group: order[group.name])
    cut = {layer for group in groups for layer in _layers(model, group)}
    for name, module in model.named_modules():
        if isinstance(module, WIDE) and name not in cut:
            left.setdefault(name, "its channels were not followed to other layers' weights")
    return Found(groups=tuple(groups), left={n: r for n, r in left.items() if n not in cut})


def _special(model: nn.Module, example: Inputs) -> tuple[list[ChannelGroup], dict[str, str]]:
    groups, left = [], {}
    for name, module in model.named_modules():
        if isinstance(module, HeadedAttention):
            groups.append(attention_heads(name, module))
        elif may_be_split_attention(module):
            try:
                group = split_attention_heads(model, example, name, module)
                groups += [] if group is None else [group]
            except UntraceableError:
                continue  # its layers are reported one by one
        elif isinstance(module, nn.RNNCellBase):
            left[name] = "it is called step by step, and its state's way is not followed"
        elif isinstance(module, nn.MultiheadAttention):
            left[name] = "it uses what HeadedAttention does not have"
        elif isinstance(module, nn.RNNBase):
            try:
                groups.append(recurrent_units(model, example, name, module))
            except UntraceableError as reason:
                left[name] = str(reason)
    return groups, left


def _places(groups: list[ChannelGroup]) -> set[tuple[str, int, int]]:
    """Return every position that goes with any channel: tensor, axis and index."""
    return {
        (part.tensor, part.axis, index)
        for group in groups
        for part in group.slices
        for index in part.indices.tolist()
    }


def _layers(model: nn.Module, group: ChannelGroup) -> list[str]:
    """Return the layers whose output channels a group holds, in the order of the model."""
    held = {group.name}
    for part in group.slices:
        name = part.tensor.rpartition(".")[0]
        module = model.get_submodule(name)
        columns_first = isinstance(module, nn.Embedding) or (
            isinstance(module, _ConvNd) and module.transposed
        )
        if part.axis == int(columns_first) and isinstance(module, WIDE):
            held.add(name)
    return [name for name, _ in model.named_modules() if name in held]


def _objection(model: nn.Module, example: Inputs, group: ChannelGroup) -> str | None:
    """Return why a group cannot be cut, if so."""
    if group.size < 2:
        return "it has one channel"
    torn = _torn(model, group)
    if torn:
        return f"its weight is shared with {torn}, where other channels would go"
    half = torch.arange(group.size // 2).expand(group.parts, -1)
    if not is_sound(model, example, [(group, half)]):
        return "its width is written into the model's code"
    return None


def _torn(model: nn.Module, group: ChannelGroup) -> str | None:
    """Return a place of a shared parameter that would lose other entries than the others do."""
    places: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(name)
    lost: dict[str, set[tuple[int, int, int]]] = {}
    for part in group.slices:
        entries = zip(part.indices.tolist(), part.channels.tolist(), strict=True)
        lost.setdefault(part.tensor, set()).update((part.axis, i, c) for i, c in entries)
    for names in places.values():
        for name in names[1:]:
            if lost.get(name) != lost.get(names[0]):
                return name if names[0] in lost else names[0]
    return None
