"""Which blocks of a model can be removed without changing the shape of anything else."""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, run
from compressors.models.calibration import few
from compressors.models.fused_attention import plain_attention, run_unfused
from compressors.models.hooks import forward_hooks, forward_pre_hooks

WEIGHT_LAYERS = (_ConvNd, nn.Linear, nn.Bilinear, nn.RNNBase, nn.MultiheadAttention)


def removable_blocks(model: nn.Module, example: Inputs) -> list[nn.Module]:
    """Return the blocks that keep the shape of their input, none inside another.

    A block is called once in a forward pass, with a tensor first, returns one tensor of its shape
    and type, and holds a weight layer. Of nested blocks the inner are taken, unless the outer has
    a path around them from its input to its output: then it is a residual block, and is taken
    whole.

    Args:
        model: A frozen model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device; few samples are run.
    """
    example = few(example)
    preserving = _shape_preserving_modules(model, example)
    composite = [block for block in preserving if any(True for _ in block.children())]
    chosen: list[nn.Module] = []
    for block in composite:  # outer ones come first
        inner = [other for other in composite if other is not block and _holds(block, other)]
        covered = any(_holds(other, block) for other in chosen)
        if not covered and (not inner or _has_bypass(model, example, block, inner)):
            chosen.append(block)
    chosen += [
        leaf
        for leaf in preserving
        if leaf not in composite and not any(_holds(block, leaf) for block in chosen)
    ]
    return [block for block in preserving if block in chosen]


def shape_changes(model: nn.Module, example: Inputs) -> dict[str, tuple[list[int], list[int]]]:
    """Return by name the shapes of input and output of the blocks that turn one into another.

    Args:
        model: A frozen model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
    """
    names = {module: name for name, module in model.named_modules() if name}
    found: dict[str, tuple[list[int], list[int]]] = {}

    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        first = args[0] if args else None
        if isinstance(first, Tensor) and isinstance(output, Tensor) and first.shape != output.shape:
            found[names[module]] = list(first.shape), list(output.shape)

    with forward_hooks([m for m in names if any(True for _ in m.parameters())], record):
        run_unfused(model, example)
    return {name: found[name] for name in names.values() if name in found}


def is_torch_stack(
    module: nn.Module,
) -> TypeGuard[nn.TransformerEncoder | nn.TransformerDecoder]:
    """Tell whether a module is one of torch's own stacks, which read into their first layer."""
    return isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder)


def _holds(outer: nn.Module, inner: nn.Module) -> bool:
    return any(module is inner for module in outer.modules())


def _alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors have the same shape and the same floating-point type."""
    same = one.shape == other.shape and one.dtype == other.dtype
    return same and one.is_floating_point()


def _shape_preserving_modules(model: nn.Module, example: Inputs) -> list[nn.Module]:
    calls: dict[nn.Module, int] = {}
    preserving: set[nn.Module] = set()

    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        first = args[0] if args else None
        if isinstance(first, Tensor) and isinstance(output, Tensor) and _alike(first, output):
            preserving.add(module)

    candidates = [
        module
        for module in model.modules()
        if module is not model and any(isinstance(m, WEIGHT_LAYERS) for m in module.modules())
    ]
    with forward_hooks(candidates, record):
        run_unfused(model, example)
    return [module for module in candidates if module in preserving and calls[module] == 1]


def _has_bypass(
    model: nn.Module, example: Inputs, block: nn.Module, inner: list[nn.Module]
) -> bool:
    """Tell whether a frozen block's output depends on its input other than through `inner`."""
    depends: list[bool] = []

    def start(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].detach().requires_grad_(True), *args[1:])

    def cut(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.detach()

    def end(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        depends.append(output.requires_grad)
        return output.detach()

    with (
        forward_pre_hooks([block], start),
        forward_hooks([block], end),
        forward_hooks(inner, cut),
        plain_attention(),
        torch.enable_grad(),
    ):
        run(model, example)
    return depends[0]
