"""Groups of heads of a `ProjectedAttention` as channels that can be cut."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import Inputs
from compressors.channels.attention.projected import ProjectedAttention
from compressors.channels.group import ChannelGroup, Slice, WidthAttribute
from compressors.channels.tracing import Producer, trace_channels

COUNT_NAMES = ("num", "n_", "heads", "groups")
"""Parts of names of attributes that count heads, where a head is as wide as there are heads."""


def projected_heads(
    model: nn.Module, example: Inputs, name: str, attention: ProjectedAttention
) -> ChannelGroup:
    """Return the groups of heads with the rows, columns and tables that belong to each.

    Tables of two or more axes whose last or first has one entry a head, such as those of relative
    positions, go with the heads. Integers of the module that count heads, or are the width of all,
    become width attributes.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        name: Path of the attention in the model.
        attention: How its heads lie.

    Raises:
        UntraceableError: the heads go where columns cannot be cut.
    """
    slices = [*_rows(name, attention), *_columns(model, example, name, attention)]
    return ChannelGroup(
        name=name,
        size=attention.groups,
        width=attention.group_width,
        slices=(*slices, *_tables(name, attention)),
        width_attributes=_width_attributes(name, attention),
    )


def coupled_heads(groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
    """Return groups of heads joined where they may share something, such as a position bias.

    Joined are all that have as many heads of the same width: the same ones go everywhere.
    """
    alike: dict[tuple[int, int], list[ChannelGroup]] = {}
    for group in groups:
        alike.setdefault((group.size, group.width), []).append(group)
    return [
        replace(
            members[0],
            slices=tuple(part for group in members for part in group.slices),
            width_attributes=tuple(one for group in members for one in group.width_attributes),
        )
        for members in alike.values()
        if len(members) > 1
    ]


def _rows(name: str, attention: ProjectedAttention) -> Iterator[Slice]:
    for child, rows in attention.inward.items():
        groups = torch.arange(attention.groups)[:, None].expand_as(rows)
        layer = attention.module.get_submodule(child)
        for tensor, _ in layer.named_parameters(recurse=False):
            yield Slice(
                tensor=f"{name}.{child}.{tensor}".lstrip("."),
                axis=0,
                indices=rows.flatten(),
                channels=groups.flatten(),
            )


def _columns(
    model: nn.Module, example: Inputs, name: str, attention: ProjectedAttention
) -> list[Slice]:
    width = attention.group_width
    if attention.out is None:

        def mark(output: Any, chosen: Tensor) -> Any:
            return _mark_first_output(output, chosen.repeat_interleave(width))

        producer = Producer(module=attention.module, channels=attention.groups, mark=mark)
        return trace_channels(model, example, producer)
    columns = torch.arange(attention.columns)
    tensor = f"{name}.{attention.out}.weight".lstrip(".")
    return [Slice(tensor=tensor, axis=1, indices=columns, channels=columns // width)]


def _tables(name: str, attention: ProjectedAttention) -> Iterator[Slice]:
    layers = {*attention.inward, attention.out}
    for path, tensor in attention.module.named_parameters():
        if path.rpartition(".")[0] in layers or tensor.dim() < 2:
            continue
        axes = [axis for axis in (tensor.dim() - 1, 0) if tensor.shape[axis] == attention.heads]
        if axes:
            entries = torch.arange(attention.heads)
            yield Slice(
                tensor=f"{name}.{path}".lstrip("."),
                axis=axes[0],
                indices=entries,
                channels=entries * attention.groups // attention.heads,
            )


def _width_attributes(name: str, attention: ProjectedAttention) -> tuple[WidthAttribute, ...]:
    """Return the integers of the module that depend on the heads."""
    groups, heads, columns = attention.groups, attention.heads, attention.columns
    rows = {len(r) * r.shape[1]: r.shape[1] for r in attention.inward.values()}
    per_group = rows | {groups: 1, heads: heads // groups, columns: columns // groups}
    head_width = columns // heads
    return tuple(
        WidthAttribute(module=name, attribute=attribute, per_channel=per_group[value])
        for attribute, value in vars(attention.module).items()
        if isinstance(value, int)
        and not isinstance(value, bool)
        and value in per_group
        and value > 1
        and (value != head_width or any(part in attribute for part in COUNT_NAMES))
        and not (attribute.endswith("groups") and value == heads // groups)
        and attribute != "layer_idx"
    )


def _mark_first_output(output: Any, chosen: Tensor) -> Any:
    """Mark the chosen channels `[C]` in a tensor `[..., C]`, or in the first of a tuple."""
    if isinstance(output, tuple):
        return output[0].masked_fill(chosen, torch.nan), *output[1:]
    return output.masked_fill(chosen, torch.nan)
