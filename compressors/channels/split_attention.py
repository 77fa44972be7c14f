"""Heads of attention whose output layer stands in another module, as in transformers' BERT."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from compressors.base import Inputs
from compressors.channels.attention_heads import calls_of
from compressors.channels.group import ChannelGroup, Slice, Stated
from compressors.channels.tracing import UntraceableError, trace_channels
from compressors.models.fused_attention import plain_attention


def may_be_split_attention(module: nn.Module) -> bool:
    """Tell whether a module holds three linear layers of one width, and no other weights."""
    weighted = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
    linears = [m for m in module.children() if isinstance(m, nn.Linear)]
    alike = len({layer.out_features for layer in linears}) == 1
    return len(linears) == len(weighted) == 3 and alike


def split_attention_heads(
    model: nn.Module, example: Inputs, name: str, module: nn.Module
) -> ChannelGroup | None:
    """Return the heads of such a module with the columns that receive them; None if it has none.

    A head is what one row of the queries reaches: its mark spreads over the outputs of its own
    head, and of no other. Integers of the module that equal the number of heads, or their width in
    all, are kept in line.

    Raises:
        UntraceableError: the outputs go where columns cannot be cut.
    """
    calls = calls_of(model, example, module)
    layers = {n: m for n, m in module.named_children() if isinstance(m, nn.Linear)}
    whole = next(iter(layers.values())).out_features
    width = max((_reached(module, layer, calls, 0) for layer in layers.values()), default=0)
    if len(calls) != 1 or width < 1 or whole % width or whole == width:
        return None

    def mark(output: Any, chosen: Tensor) -> Any:
        first, rest = (output[0], output[1:]) if isinstance(output, tuple) else (output, None)
        marked = first.masked_fill(chosen, torch.nan)
        return marked if rest is None else (marked, *rest)

    columns = trace_channels(model, example, module, mark, whole)
    rows = torch.arange(whole)
    own = [
        Slice(tensor=f"{name}.{n}.{tensor}", axis=0, indices=rows, channels=rows // width)
        for n, layer in layers.items()
        for tensor in (["weight"] if layer.bias is None else ["weight", "bias"])
    ]
    outside = [
        Slice(tensor=c.tensor, axis=c.axis, indices=c.indices, channels=c.channels // width)
        for c in columns
    ]
    amounts = {whole // width: 1, whole: width}
    stated = [
        Stated(module=name, attribute=attribute, amount=amounts[value])
        for attribute, value in vars(module).items()
        if isinstance(value, int) and not isinstance(value, bool) and value in amounts
    ]
    return ChannelGroup(
        name=name,
        size=whole // width,
        width=width,
        slices=(*own, *outside),
        stated=tuple(stated),
    )


def _reached(
    module: nn.Module,
    layer: nn.Linear,
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]],
    row: int,
) -> int:
    """Return how many of the module's output channels one row of a layer reaches."""

    def mark(_layer: nn.Module, _args: Any, output: Tensor) -> Tensor:
        return output.index_fill(-1, torch.tensor([row], device=output.device), torch.nan)

    handle = layer.register_forward_hook(mark)
    try:
        with plain_attention(), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            outputs = [module(*args, **kwargs) for args, kwargs in calls]
    finally:
        handle.remove()
    found = 0
    for output in outputs:
        first = output[0] if isinstance(output, tuple) else output
        if not isinstance(first, Tensor) or first.dim() < 2:
            raise UntraceableError("its output is not one tensor of channels")
        found = max(found, int(first.isnan().flatten(0, -2).any(0).sum()))
    return found
