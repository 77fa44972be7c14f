"""Which blocks of a model can be taken out without changing the shape of anything else."""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, run
from compressors.models.fused_attention import plain_attention

WEIGHT_LAYERS = (_ConvNd, nn.Linear, nn.Bilinear, nn.RNNBase, nn.MultiheadAttention)


def removable_blocks(model: nn.Module, example: Inputs) -> list[nn.Module]:
    """Return the blocks that keep the shape of their input, none inside another.

    A block is called once in a forward pass, with a tensor first, returns one tensor of its shape
    and type, and holds a weight layer. Of nested ones the inner are taken, unless the outer has a
    way around them from its input to its output: then it is a residual block, and goes as a whole.
    """
    fitting = _fitting(model, example)
    composite = [block for block in fitting if any(True for _ in block.children())]
    chosen: list[nn.Module] = []
    for block in composite:  # outer ones come first
        inner = [other for other in composite if other is not block and _holds(block, other)]
        covered = any(_holds(other, block) for other in chosen)
        if not covered and (not inner or _has_bypass(model, example, block, inner)):
            chosen.append(block)
    leaves = [b for b in fitting if b not in composite and not any(_holds(c, b) for c in chosen)]
    return [block for block in fitting if block in chosen or block in leaves]


def parent_of(model: nn.Module, block: nn.Module) -> tuple[Any, str]:
    """Return the module that holds a block, and the name it has there."""
    path = next(name for name, module in model.named_modules() if module is block)
    parent, _, name = path.rpartition(".")
    return model.get_submodule(parent), name


def is_torch_stack(
    module: nn.Module,
) -> TypeGuard[nn.TransformerEncoder | nn.TransformerDecoder]:
    """Tell whether a module is one of torch's own stacks, which read into their first layer."""
    return isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder)


def _holds(outer: nn.Module, inner: nn.Module) -> bool:
    return any(module is inner for module in outer.modules())


def _alike(one: Tensor, other: Tensor) -> bool:
    same = one.shape == other.shape and one.dtype == other.dtype
    return same and one.is_floating_point()


def _fitting(model: nn.Module, example: Inputs) -> list[nn.Module]:
    calls: dict[nn.Module, int] = {}
    keeps_shape: set[nn.Module] = set()

    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        first = args[0] if args else None
        if isinstance(first, Tensor) and isinstance(output, Tensor) and _alike(first, output):
            keeps_shape.add(module)

    candidates = [
        module
        for module in model.modules()
        if module is not model and any(isinstance(m, WEIGHT_LAYERS) for m in module.modules())
    ]
    handles = [module.register_forward_hook(record) for module in candidates]
    try:
        with plain_attention(), torch.no_grad():
            run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return [module for module in candidates if module in keeps_shape and calls[module] == 1]


def _has_bypass(
    model: nn.Module, example: Inputs, block: nn.Module, inner: list[nn.Module]
) -> bool:
    """Tell whether a frozen block's output depends on its input other than through `inner`."""
    found: list[bool] = []

    def start(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].detach().requires_grad_(True), *args[1:])

    def cut(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.detach()

    def end(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        found.append(output.requires_grad)
        return output.detach()

    handles = [block.register_forward_pre_hook(start), block.register_forward_hook(end)]
    handles += [module.register_forward_hook(cut) for module in inner]
    try:
        with plain_attention(), torch.enable_grad():
            run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return found[0]
