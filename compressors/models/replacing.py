"""Modules of a model that others take the place of, wherever the model holds them."""

from torch import nn


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in every place where a model holds another, in place."""
    for parent, name in places_of(model, old):
        setattr(parent, name, new)


def places_of(model: nn.Module, module: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return every parent that holds a module, with the module's name in that parent."""
    return [
        (parent, name)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if child is module
    ]
