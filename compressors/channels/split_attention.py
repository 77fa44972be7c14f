"""Heads of attention whose output layer is in another module, as in transformers' BERT."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from compressors.base import Inputs
from compressors.channels.attention_candidates import only_linear_children
from compressors.channels.calls import Call, recorded_calls
from compressors.channels.group import ChannelGroup, Slice, UntraceableError, WidthAttribute
from compressors.channels.tracing import Producer, trace_channels
from compressors.models.fused_attention import plain_attention
from compressors.models.hooks import forward_hooks


def may_be_split_attention(module: nn.Module) -> bool:
    """Tell whether a module holds three linear layers of one width, and no other weights."""
    layers = only_linear_children(module)
    return len(layers) == 3 and len({layer.out_features for layer in layers}) == 1


def split_attention_heads(model: nn.Module, example: Inputs, name: str) -> ChannelGroup | None:
    """Return the heads of such a module with the columns that receive them; None if it has none.

    A head is what one row of the queries reaches: its mark spreads over the outputs of its own
    head, and of no other. Integers of the module that equal the number of heads, or their width in
    all, become width attributes.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        name: Path of a module for which `may_be_split_attention` holds.

    Raises:
        UntraceableError: the outputs go where columns cannot be cut.
    """
    module = model.get_submodule(name)
    calls = recorded_calls(model, example, module)
    layers = only_linear_children(module)
    outputs = layers[0].out_features
    width = max(_reached_outputs(module, layer, calls) for layer in layers)
    if len(calls) != 1 or width < 1 or outputs % width or outputs == width:
        return None
    producer = Producer(module=module, channels=outputs, mark=_mark_first_output)
    columns = trace_channels(model, example, producer)
    outside = [
        Slice(tensor=c.tensor, axis=c.axis, indices=c.indices, channels=c.channels // width)
        for c in columns
    ]
    return ChannelGroup(
        name=name,
        size=outputs // width,
        width=width,
        slices=(*_own_slices(name, module, width), *outside),
        width_attributes=_width_attributes(name, module, {outputs // width: 1, outputs: width}),
    )


def _own_slices(name: str, module: nn.Module, width: int) -> list[Slice]:
    """Return the rows of the three layers that belong to each head."""
    layers = {n: m for n, m in module.named_children() if isinstance(m, nn.Linear)}
    rows = torch.arange(next(iter(layers.values())).out_features)
    return [
        Slice(tensor=f"{name}.{n}.{tensor}", axis=0, indices=rows, channels=rows // width)
        for n, layer in layers.items()
        for tensor in (["weight"] if layer.bias is None else ["weight", "bias"])
    ]


def _width_attributes(
    name: str, module: nn.Module, per_head: dict[int, int]
) -> tuple[WidthAttribute, ...]:
    """Return the integers of a module that depend on the heads.

    `per_head` gives for each value that does how much of it belongs to one head.
    """
    return tuple(
        WidthAttribute(module=name, attribute=attribute, per_channel=per_head[value])
        for attribute, value in vars(module).items()
        if isinstance(value, int) and not isinstance(value, bool) and value in per_head
    )


def _mark_first_output(output: Any, chosen: Tensor) -> Any:
    """Mark the chosen channels `[C]` in a tensor `[..., C]`, or in the first of a tuple."""
    if isinstance(output, tuple):
        return output[0].masked_fill(chosen, torch.nan), *output[1:]
    return output.masked_fill(chosen, torch.nan)


def _reached_outputs(module: nn.Module, layer: nn.Linear, calls: list[Call]) -> int:
    """Return how many of the module's output channels the first row of a layer reaches."""

    def mark(_layer: nn.Module, _args: Any, output: Tensor) -> Tensor:
        return output.index_fill(-1, torch.tensor([0], device=output.device), torch.nan)

    math_only = sdpa_kernel(SDPBackend.MATH)  # fused kernels drop NaN
    with forward_hooks([layer], mark), plain_attention(), math_only, torch.no_grad():
        outputs = [call.repeat(module) for call in calls]
    reached = 0
    for output in outputs:
        first = output[0] if isinstance(output, tuple) else output
        if not isinstance(first, Tensor) or first.dim() < 2:
            raise UntraceableError("its output is not one tensor of channels")
        reached = max(reached, int(first.isnan().flatten(0, -2).any(0).sum()))
    return reached
