"""Copies of a model that share nothing with it, whatever parametrisations it carries."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized


def copy_model(model: nn.Module) -> nn.Module:
    """Return an independent copy, in eval mode and frozen; the model itself is not changed."""
    refresh_recurrent_weights(model)
    copy = deepcopy(model)
    for module in copy.modules():
        if is_parametrized(module):
            _own_class(module)
    return copy.eval().requires_grad_(False)


def restorer(copy: nn.Module, original: nn.Module) -> Callable[[], None]:
    """Return what makes a fresh copy equal to its original again, whatever was done to it.

    This costs far less than another copy. Modules may come, go and be parametrised, tensors may be
    written to; a tensor that no module has registered is not restored.
    """
    known = [(module, _class_of(module), _shallow(vars(module))) for module in copy.modules()]
    tensors = list(zip(_tensors(copy), _tensors(original), strict=True))

    def restore() -> None:
        for module, own_class, state in known:
            module.__class__ = own_class()
            vars(module).clear()
            vars(module).update(_shallow(state))
        with torch.no_grad():
            for ours, theirs in tensors:
                ours.copy_(theirs)

    return restore


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _shallow(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's attributes, its containers copied: they name its tensors and parts."""
    return {k: v.copy() if isinstance(v, dict | list | set) else v for k, v in state.items()}


def refresh_recurrent_weights(model: nn.Module) -> None:
    """Recompute the weights that recurrent layers keep beside their parametrisations.

    A forward pass in training leaves tensors there that are part of its graph, and such tensors
    cannot be copied.
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
    """Return what gives a module's class as it is now: each time a new one if parametrised."""
    made = type(module)
    if not is_parametrized(module):
        return lambda: made
    members = {k: v for k, v in vars(made).items() if k not in ("__dict__", "__weakref__")}
    return lambda: type(made.__name__, made.__bases__, dict(members))
