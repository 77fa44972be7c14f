"""Which blocks of a model can be removed without changing the shape of anything else."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, output_tensors, run
from compressors.layers.pass_through import PassThrough, pass_through_of, with_tensors
from compressors.models.calibration import few
from compressors.models.fused_attention import plain_attention, run_unfused
from compressors.models.hooks import forward_hooks, forward_pre_hooks
from compressors.models.replacing import places_of, replace_module

WEIGHT_LAYERS = (_ConvNd, nn.Linear, nn.Bilinear, nn.RNNBase, nn.MultiheadAttention)


def removable_blocks(model: nn.Module, example: Inputs) -> dict[nn.Module, PassThrough]:
    """Return the blocks that keep the shape of their input, none inside another.

    A block is called once in a forward pass, returns its first input in the same shape and type,
    alone or beside what it is given, and holds a weight layer. Of nested blocks the inner are
    taken, unless the outer has a path around them from its input to its output, or is a layer of
    a stack with a path around its weights: then it is a residual block, and is taken whole.
    Single layers are taken where there is nothing else.

    Args:
        model: A frozen model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device; few samples are run.

    Returns:
        By block, in the order of the model, what can stand in its place.
    """
    example = few(example)
    preserving = _shape_preserving_modules(model, example)
    composite = [block for block in preserving if any(True for _ in block.children())]
    stacked = _stacked(model, composite)
    chosen: list[nn.Module] = []
    for block in composite:  # outer ones come first
        inner = {
            other: stand_in
            for other, stand_in in preserving.items()
            if other in composite and other is not block and _holds(block, other)
        }
        layer = block in stacked and not any(other in stacked for other in inner)
        traced = _Traced(model, example, block, preserving[block])
        covered = any(_holds(other, block) for other in chosen)
        if not covered and (
            not inner or traced.has_bypass(inner) or (layer and traced.has_path_without_weights())
        ):
            chosen.append(block)
    if not chosen:
        chosen = [leaf for leaf in preserving if leaf not in composite]
    return {
        block: stand_in
        for block, stand_in in preserving.items()
        if block in chosen and _runs_without(model, example, block, stand_in)
    }


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


def _shape_preserving_modules(model: nn.Module, example: Inputs) -> dict[nn.Module, PassThrough]:
    calls: dict[nn.Module, int] = {}
    preserving: dict[nn.Module, PassThrough] = {}

    def record(
        module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        calls[module] = calls.get(module, 0) + 1
        stand_in = pass_through_of(module, args, kwargs, output)
        if stand_in is not None:
            preserving[module] = stand_in

    candidates = [
        module
        for module in model.modules()
        if module is not model and any(isinstance(m, WEIGHT_LAYERS) for m in module.modules())
    ]
    with forward_hooks(candidates, record, with_kwargs=True):
        run_unfused(model, example)
    return {m: preserving[m] for m in candidates if m in preserving and calls[m] == 1}


def _stacked(model: nn.Module, blocks: list[nn.Module]) -> set[nn.Module]:
    """Return the blocks that are in a list of modules beside another of their class."""
    stacked: set[nn.Module] = set()
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList | nn.Sequential):
            members = [block for block in stack if block in blocks]
            classes = Counter(type(block) for block in members)
            stacked.update(block for block in members if classes[type(block)] > 1)
    return stacked


def _runs_without(
    model: nn.Module, example: Inputs, block: nn.Module, stand_in: PassThrough
) -> bool:
    """Tell whether a model runs with a stand-in in a block's place, and returns as many tensors.

    It does not where its code reads into the block.
    """
    places = places_of(model, block)
    if any(isinstance(parent, nn.ModuleList) for parent, _ in places) and any(
        is_torch_stack(module) and block in module.layers for module in model.modules()
    ):
        return True  # it is deleted from the stack
    expected = output_tensors(run_unfused(model, example))
    replace_module(model, block, stand_in)
    try:
        outputs = output_tensors(run_unfused(model, example))
    except (AttributeError, TypeError, LookupError, RuntimeError, ValueError, AssertionError):
        return False  # whatever the user's code raises where a part is missing
    finally:
        for parent, name in places:
            setattr(parent, name, block)
    return [one.shape for one in outputs] == [one.shape for one in expected]


@dataclass(frozen=True)
class _Traced:
    """A block of a frozen model, whose output is followed back through autograd's graph."""

    model: nn.Module
    example: Inputs
    block: nn.Module
    stand_in: PassThrough

    def has_bypass(self, inner: Mapping[nn.Module, PassThrough]) -> bool:
        """Tell whether the output depends on the input other than through some inner blocks."""
        return self._depends(inner)

    def has_path_without_weights(self) -> bool:
        """Tell whether the output depends on the input other than through layers of weights."""
        return self._depends([m for m in self.block.modules() if isinstance(m, WEIGHT_LAYERS)])

    def _depends(self, cut_modules: Iterable[nn.Module]) -> bool:
        depends: list[bool] = []

        def start(
            _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            state = self.stand_in.state.of(args, kwargs)
            source = state.detach().requires_grad_(True)
            replaced = {key: source if value is state else value for key, value in kwargs.items()}
            return tuple(source if value is state else value for value in args), replaced

        def cut(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
            return _detached(output)

        def end(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
            depends.append(output_tensors(output)[0].requires_grad)
            return _detached(output)

        with (
            forward_pre_hooks([self.block], start, with_kwargs=True),
            forward_hooks([self.block], end),
            forward_hooks(cut_modules, cut),
            plain_attention(),
            torch.enable_grad(),
        ):
            run(self.model, self.example)
        return depends[0]


def _detached(outputs: Any) -> Any:
    """Return outputs of any structure without their autograd graph."""
    return with_tensors(outputs, Tensor.detach)
