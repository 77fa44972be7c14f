"""Copies of a model that share nothing with it unless asked to, also where it is parametrised."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from compressors.models.transposed_linear import make_transposed_linear_plain


def copy_model(model: nn.Module, shared: Iterable[nn.Parameter] = ()) -> nn.Module:
    """Return a copy, in eval mode and frozen; the model itself is not changed.

    Linear layers with a transposed weight are plain linear layers in the copy.

    Args:
        model: The model.
        shared: Frozen parameters of the model that the copy holds too; none may be written to.
    """
    refresh_recurrent_weights(model)
    copy = deepcopy(model, _detached(model) | {id(held): held for held in shared})
    make_transposed_linear_plain(copy)
    for module in copy.modules():
        if is_parametrized(module):
            _own_class(module)
    return copy.eval().requires_grad_(False)


def readable_copy(model: nn.Module) -> nn.Module:
    """Return a copy on the CPU, of whose plain parameters none may be written to.

    It holds those of the model itself where these are frozen and on the CPU.
    """
    shared = [held for held in plain_parameters(model) if held.device.type == "cpu"]
    return copy_model(model, shared).cpu()


def plain_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the frozen parameters that are not parametrised, which copies may share."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad and "parametrizations" not in name.split(".")
    ]


def _detached(model: nn.Module) -> dict[int, Any]:
    """Return copies, by identity, of plain tensors in modules that are part of autograd's graph.

    Old hooks such as `torch.nn.utils.weight_norm` leave such tensors, which cannot be copied.
    """
    return {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }


def restorer(copy: nn.Module, original: nn.Module) -> Callable[[], None]:
    """Return a function that makes a copy equal to its original again, after any change.

    This costs far less than another copy. Modules may come, go and be parametrised, tensors may be
    written to; a tensor that no module has registered is not restored.

    Args:
        copy: A fresh copy of the original, not yet changed.
        original: The model, which must not change.
    """
    known = [(module, _class_of(module), _shallow(vars(module))) for module in copy.modules()]
    tensors = list(zip(_tensors(copy), _tensors(original), strict=True))

    def restore() -> None:
        for module, own_class, state in known:
            module.__class__ = own_class()
            vars(module).clear()
            vars(module).update(_shallow(state))
        with torch.no_grad():
            for tensor, source in tensors:
                tensor.copy_(source)

    return restore


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _shallow(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's attributes with copies of its containers of tensors and submodules."""
    return {k: v.copy() if isinstance(v, dict | list | set) else v for k, v in state.items()}


def refresh_recurrent_weights(model: nn.Module) -> None:
    """Recompute the weights that recurrent layers keep beside their parametrisations, in place.

    A forward pass in training leaves tensors there that are part of autograd's graph, which cannot
    be copied.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.RNNBase) and is_parametrized(module):
                module._init_flat_weights()


def _own_class(module: nn.Module) -> None:
    """Give a parametrised module a class of its own.

    torch keeps the properties of parametrised tensors in a class made for the module, and a deep
    copy has the same class: adding or removing one there would break the other.
    """
    module.__class__ = _class_of(module)()


def _class_of(module: nn.Module) -> Callable[[], type[nn.Module]]:
    """Return a function that returns a module's class as it is now, a new one if parametrised."""
    made = type(module)
    if not is_parametrized(module):
        return lambda: made
    members = {k: v for k, v in vars(made).items() if k not in ("__dict__", "__weakref__")}
    return lambda: type(made.__name__, made.__bases__, dict(members))
