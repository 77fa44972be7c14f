"""Attention without torch's fused kernels, which call none of the modules that hooks watch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from compressors.base import Inputs, run


@contextmanager
def plain_attention() -> Iterator[None]:
    """Switch off torch's fused inference kernels inside the block."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def run_unfused(model: nn.Module, inputs: Inputs) -> Any:
    """Return a model's outputs on one batch `[B, ...]`, every module called, without gradients."""
    with plain_attention(), torch.no_grad():
        return run(model, inputs)


def disable_nested_tensors(model: nn.Module, part: type[nn.Module]) -> None:
    """Switch off nested tensors in torch's encoders that hold a module of this type, in place.

    The kernels for nested tensors read the weights of torch's own attention.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(
            isinstance(inner, part) for inner in module.modules()
        ):
            module.use_nested_tensor = False


def disable_fused_feedforward(model: nn.Module) -> None:
    """Make torch's encoder layers call `linear1` and `linear2` where these are pairs, in place.

    In inference they read the weights of both for a fused kernel, unless `activation_relu_or_gelu`
    names no activation of the kernel; their stack reads the weights of its first layer.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and _has_pair(module):
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder) and any(map(_has_pair, module.layers)):
            module.use_nested_tensor = False


def _has_pair(layer: nn.Module) -> bool:
    parts = (getattr(layer, "linear1", None), getattr(layer, "linear2", None))
    return any(isinstance(part, nn.Sequential) for part in parts)
