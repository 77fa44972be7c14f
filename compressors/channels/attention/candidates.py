"""The `HeadedAttention` modules that may compute what a module of a model computes."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from compressors.channels.attention.headed_attention import HeadedAttention, SelfAttention


def may_be_attention(module: nn.Module) -> bool:
    """Tell whether a module has candidates: torch's attention, or one that looks like it.

    Such a module holds two or four linear layers, no other weights, and a positive integer.
    """
    if isinstance(module, HeadedAttention | SelfAttention):
        return False
    if isinstance(module, nn.MultiheadAttention):
        return True
    return len(only_linear_children(module)) in (2, 4) and bool(_positive_integers(module))


def attention_candidates(module: nn.Module, *, self_attention: bool) -> Iterator[nn.Module]:
    """Yield the modules that may compute what an attention computes, frozen and in eval mode.

    Args:
        module: A module for which `may_be_attention` holds; the candidates may share its layers.
        self_attention: Its queries, keys and values are always the same tensor.
    """
    if isinstance(module, nn.MultiheadAttention):
        if module.bias_k is None and not module.add_zero_attn:
            yield _from_torch(module, joint=self_attention)
        return
    for heads in _positive_integers(module):
        for inward, out in _arrangements(only_linear_children(module), heads):
            if out.in_features % heads == 0:
                for causal in (False, True):
                    attention = HeadedAttention(
                        inward=inward, out=out, head_width=out.in_features // heads
                    )
                    yield SelfAttention(attention, causal=causal).eval()


def only_linear_children(module: nn.Module) -> list[nn.Linear]:
    """Return a module's linear layers, none if anything else in it has weights."""
    weighted = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
    linear = [m for m in module.children() if isinstance(m, nn.Linear)]
    return linear if len(linear) == len(weighted) else []


def _positive_integers(module: nn.Module) -> list[int]:
    """Return the positive integers among a module's attributes: any may be the number of heads."""
    values = [v for v in vars(module).values() if isinstance(v, int) and not isinstance(v, bool)]
    return sorted({value for value in values if value >= 1})


def _arrangements(
    linear: list[nn.Linear], heads: int
) -> Iterator[tuple[list[nn.Linear], nn.Linear]]:
    """Yield the ways to read two or four linear layers as layers inward and one outward."""
    if len(linear) == 4:
        if all(layer.out_features == linear[3].in_features for layer in linear[:3]):
            yield linear[:3], linear[3]
        return
    fused, out = linear if linear[0].out_features == 3 * linear[1].in_features else linear[::-1]
    if fused.out_features != 3 * out.in_features or out.in_features % heads:
        return
    rows = torch.arange(fused.out_features)
    yield [_frozen_linear(fused.weight, fused.bias, rows)], out  # [3, H, head width], most common
    rows = rows.view(heads, 3, -1).transpose(0, 1).flatten()
    yield [_frozen_linear(fused.weight, fused.bias, rows)], out  # [H, 3, head width]


def _from_torch(module: nn.MultiheadAttention, *, joint: bool) -> HeadedAttention:
    """Return the same attention, with one layer inward if `joint` and the widths allow it."""
    if module.in_proj_weight is None:
        weights = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
    else:
        weights = [module.in_proj_weight] if joint else list(module.in_proj_weight.chunk(3))
    bias = module.in_proj_bias
    biases = [None] * len(weights) if bias is None else list(bias.chunk(len(weights)))
    out = module.out_proj
    return HeadedAttention(
        inward=[
            _frozen_linear(weight, part, torch.arange(len(weight)))
            for weight, part in zip(weights, biases, strict=True)
        ],
        out=_frozen_linear(out.weight, out.bias, torch.arange(out.out_features)),
        head_width=module.embed_dim // module.num_heads,
        dropout=module.dropout,
        batch_first=module.batch_first,
    ).eval()


def _frozen_linear(weight: Tensor, bias: Tensor | None, rows: Tensor) -> nn.Linear:
    """Return a frozen linear layer of rows `[N]` of a weight `[R, C]` and of its bias `[R]`."""
    rows = rows.to(weight.device)
    layer = nn.Linear(weight.shape[1], len(rows), bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach()[rows].clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach()[rows].clone(), requires_grad=False)
    return layer
