"""Whole heads of attention as channels that can be cut, in torch's own and in users' modules."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.channels.group import ChannelGroup, Slice
from compressors.channels.headed_attention import HeadedAttention, SelfAttention
from compressors.models.fused_attention import plain_attention

TOLERANCE = 1e-4
"""Of the outputs' greatest value: what computing in another order may move."""


def open_attention(model: nn.Module, example: Inputs) -> None:
    """Stand a `HeadedAttention` wherever one computes the same, in place.

    It takes the place of `nn.MultiheadAttention`, and of a user's own module that maps one sequence
    to one and holds either one linear layer for queries, keys and values or three, one behind
    them, and an integer that is the number of heads. Each replacement is compared with the module
    on the example; one that differs is not made.
    """
    for module in list(model.modules()):
        calls = calls_of(model, example, module) if _may_be_attention(module) else []
        if not calls:
            continue
        joint = all(_is_self_attention(args, kwargs) for args, kwargs in calls)
        for candidate in _candidates(module, joint=joint):
            if all(_same(module, candidate, args, kwargs) for args, kwargs in calls):
                for parent in list(model.modules()):
                    for attribute in [n for n, m in parent._modules.items() if m is module]:
                        setattr(parent, attribute, candidate)
                break
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(
            isinstance(inner, HeadedAttention) for inner in module.modules()
        ):
            module.use_nested_tensor = False  # its kernels read torch's own attention


def attention_heads(name: str, module: HeadedAttention) -> ChannelGroup:
    """Return the heads of attention: rows of the layers inward, columns of the layer outward."""
    whole = module.out.in_features
    slices = [_slice(name, "out.weight", 1, module)]
    for position, layer in enumerate(module.inward):
        slices.append(_slice(name, f"inward.{position}.weight", 0, module))
        if layer.bias is not None:
            slices.append(_slice(name, f"inward.{position}.bias", 0, module))
    return ChannelGroup(
        name=name, size=whole // module.head_width, width=module.head_width, slices=tuple(slices)
    )


def _slice(name: str, tensor: str, axis: int, module: HeadedAttention) -> Slice:
    positions = torch.arange(module.get_parameter(tensor).shape[axis])
    return Slice(
        tensor=f"{name}.{tensor}".lstrip("."),
        axis=axis,
        indices=positions,
        channels=positions % module.out.in_features // module.head_width,
    )


def _may_be_attention(module: nn.Module) -> bool:
    if isinstance(module, HeadedAttention | SelfAttention):
        return False
    return isinstance(module, nn.MultiheadAttention) or bool(_linears(module) and _ints(module))


def _linears(module: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a module that could be attention: two or four, and no others."""
    weighted = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
    linears = [m for m in module.children() if isinstance(m, nn.Linear)]
    return linears if len(linears) in (2, 4) and len(weighted) == len(linears) else []


def _ints(module: nn.Module) -> list[int]:
    values = [v for v in vars(module).values() if isinstance(v, int) and not isinstance(v, bool)]
    return sorted({value for value in values if value >= 1})


def calls_of(
    model: nn.Module, example: Inputs, module: nn.Module
) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return the arguments of every call of a module in one run of the model."""
    found: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def record(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append((args, kwargs))

    handle = module.register_forward_pre_hook(record, with_kwargs=True)
    try:
        with plain_attention(), torch.no_grad():
            run(model, example)
    finally:
        handle.remove()
    return found


def _same(
    module: nn.Module, candidate: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    with plain_attention(), torch.no_grad():
        expected = module(*args, **kwargs)
        try:
            found = candidate(*args, **kwargs)
        except (TypeError, RuntimeError, ValueError, IndexError):
            return False  # called in a way that only the module itself understands
    pairs = zip(_tensors(expected), _tensors(found), strict=False)
    return len(_tensors(expected)) == len(_tensors(found)) and all(_close(*p) for p in pairs)


def _tensors(value: Any) -> list[Tensor]:
    items = value if isinstance(value, tuple) else (value,)
    return [item for item in items if isinstance(item, Tensor)]


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    allowed = TOLERANCE * float(one.nan_to_num().abs().max())
    return torch.allclose(one, other, rtol=0, atol=allowed, equal_nan=True)


def _is_self_attention(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    given = (*args, *(kwargs[name] for name in ("query", "key", "value") if name in kwargs))[:3]
    return all(x is given[0] for x in given)


def _candidates(module: nn.Module, *, joint: bool) -> Iterator[nn.Module]:
    if isinstance(module, nn.MultiheadAttention):
        if module.bias_k is None and not module.add_zero_attn:
            yield _of_torch(module, joint=joint)
        return
    linears = _linears(module)
    for heads in _ints(module):
        for inward, out in _arrangements(linears, heads):
            if out.in_features % heads == 0:
                for causal in (False, True):
                    attention = HeadedAttention(
                        inward=inward, out=out, head_width=out.in_features // heads
                    )
                    yield SelfAttention(attention, causal=causal).eval()


def _arrangements(
    linears: list[nn.Linear], heads: int
) -> Iterator[tuple[list[nn.Linear], nn.Linear]]:
    """Yield the layers inward and outward, in the ways they may be meant."""
    if len(linears) == 4:
        if all(layer.out_features == linears[3].in_features for layer in linears[:3]):
            yield linears[:3], linears[3]
        return
    fused, out = linears if linears[0].out_features == 3 * linears[1].in_features else linears[::-1]
    if fused.out_features != 3 * out.in_features or out.in_features % heads:
        return
    rows = torch.arange(fused.out_features)
    yield [_linear(fused.weight, fused.bias, rows)], out  # [3, H, head width], as in most code
    rows = rows.view(heads, 3, -1).transpose(0, 1).flatten()
    yield [_linear(fused.weight, fused.bias, rows)], out  # [H, 3, head width]


def _of_torch(module: nn.MultiheadAttention, *, joint: bool) -> HeadedAttention:
    width = module.embed_dim
    bias = module.in_proj_bias
    if module.in_proj_weight is None:
        own = [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
    else:
        own = [module.in_proj_weight] if joint else list(module.in_proj_weight.chunk(3))
    biases = [None] * len(own) if bias is None else list(bias.chunk(len(own)))
    out = module.out_proj
    return HeadedAttention(
        inward=[
            _linear(weight, part, torch.arange(len(weight)))
            for weight, part in zip(own, biases, strict=True)
        ],
        out=_linear(out.weight, out.bias, torch.arange(out.out_features)),
        head_width=width // module.num_heads,
        dropout=module.dropout,
        batch_first=module.batch_first,
    ).eval()


def _linear(weight: Tensor, bias: Tensor | None, rows: Tensor) -> nn.Linear:
    """Return a frozen linear layer of some rows of a weight `[R, C]` and of its bias."""
    rows = rows.to(weight.device)
    layer = nn.Linear(weight.shape[1], len(rows), bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach()[rows].clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach()[rows].clone(), requires_grad=False)
    return layer
