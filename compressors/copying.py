"""Copies of a model that share nothing with it, whatever parametrisations it carries."""

from copy import deepcopy

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized


def copy_model(model: nn.Module) -> nn.Module:
    """Return an independent copy, in eval mode and frozen; the model itself is not changed."""
    refresh_recurrent_weights(model)
    copy = deepcopy(model)
    for module in copy.modules():
        if is_parametrized(module):
            _own_class(module)
    return copy.eval().requires_grad_(False)


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
    made = type(module)
    members = {k: v for k, v in vars(made).items() if k not in ("__dict__", "__weakref__")}
    module.__class__ = type(made.__name__, made.__bases__, members)
