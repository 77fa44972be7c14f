"""Attention of a model replaced by `HeadedAttention`, which can lose heads, where both agree."""

from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import Inputs
from compressors.channels.attention.candidates import attention_candidates, may_be_attention
from compressors.channels.attention.headed_attention import HeadedAttention
from compressors.channels.calls import Call, recorded_calls
from compressors.models.fused_attention import disable_nested_tensors, plain_attention
from compressors.models.replacing import replace_module

TOLERANCE = 1e-4
"""Difference between outputs that another order of computation explains, as a share of the
greatest absolute output."""


def replace_attention(model: nn.Module, example: Inputs) -> None:
    """Replace attention by a `HeadedAttention` that computes the same, in place.

    Replaced are `nn.MultiheadAttention`, and a user's own module that maps one sequence to one and
    holds either one linear layer for queries, keys and values or three, one behind them, and an
    integer that is the number of heads. Each replacement is compared with the module on the
    example; one that differs is not made.

    Args:
        model: A frozen model in eval mode.
        example: One batch of inputs `[B, ...]`, on the model's device.
    """
    for module in list(model.modules()):
        calls = recorded_calls(model, example, module) if may_be_attention(module) else []
        replacement = _equivalent(module, calls) if calls else None
        if replacement is not None:
            replace_module(model, module, replacement)
    disable_nested_tensors(model, HeadedAttention)


def _equivalent(module: nn.Module, calls: list[Call]) -> nn.Module | None:
    """Return the first candidate that agrees with a module in all its calls, None without one."""
    self_attention = all(_is_self_attention(call) for call in calls)
    for candidate in attention_candidates(module, self_attention=self_attention):
        if all(_agree(module, candidate, call) for call in calls):
            return candidate
    return None


def _is_self_attention(call: Call) -> bool:
    named = (call.kwargs[name] for name in ("query", "key", "value") if name in call.kwargs)
    given = (*call.args, *named)[:3]
    return all(x is given[0] for x in given)


def _agree(module: nn.Module, candidate: nn.Module, call: Call) -> bool:
    """Tell whether two modules return the same tensors for a call."""
    with plain_attention(), torch.no_grad():
        expected = _tensors(call.repeat(module))
        try:
            actual = _tensors(call.repeat(candidate))
        except (TypeError, RuntimeError, ValueError, IndexError):
            return False  # called in a way that only the module itself understands
    return len(expected) == len(actual) and all(map(_close, expected, actual))


def _tensors(value: Any) -> list[Tensor]:
    items = value if isinstance(value, tuple) else (value,)
    return [item for item in items if isinstance(item, Tensor)]


def _close(expected: Tensor, actual: Tensor) -> bool:
    if expected.shape != actual.shape:
        return False
    allowed = TOLERANCE * float(expected.nan_to_num().abs().max())
    return torch.allclose(expected, actual, rtol=0, atol=allowed, equal_nan=True)
