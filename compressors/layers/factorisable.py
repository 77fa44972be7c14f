"""Which layers two others can stand for, and how they are put in their place."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import nn

from compressors.base import Inputs, run
from compressors.layers.factors import Layer
from compressors.models.fused_attention import plain_attention


def factorisable_layers(model: nn.Module, example: Inputs) -> dict[str, Layer]:
    """Return the layers that two layers can stand for, by name.

    These are plain linear and ungrouped convolution layers that are called as modules, have no
    hooks, share their weight with nothing and carry no parametrisation. A layer whose attributes
    other code reads while the model runs is left out, such as the out-projection of attention;
    torch's encoder layers are in, since they need not read theirs.
    """
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    found = {
        name: module
        for name, module in model.named_modules()
        if name and _is_plain(module) and uses[id(module.weight)] == 1
    }
    called = _called(model, example, set(found.values()))
    found = {name: module for name, module in found.items() if module in called}
    if _runs_without(model, example, found.values()):
        return cast(dict[str, Layer], found)
    alone = {n: m for n, m in found.items() if _runs_without(model, example, [m])}
    return cast(dict[str, Layer], alone)


def replace_layer(model: nn.Module, layer: nn.Module, pair: nn.Module) -> None:
    """Put a pair of layers wherever a model holds the one, in place."""
    for parent, name in _places(model, layer):
        setattr(parent, name, pair)


def _is_plain(module: nn.Module) -> bool:
    if type(module) not in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return False
    hooked = module._forward_hooks or module._forward_pre_hooks
    return not hooked and getattr(module, "groups", 1) == 1


def _called(model: nn.Module, example: Inputs, layers: set[nn.Module]) -> set[nn.Module]:
    called: set[nn.Module] = set()
    handles = [layer.register_forward_hook(lambda m, _a, _o: called.add(m)) for layer in layers]
    try:
        with plain_attention(), torch.no_grad():
            run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return called


def _runs_without(model: nn.Module, example: Inputs, layers: Iterable[nn.Module]) -> bool:
    """Tell whether the model runs when these layers have none of their attributes."""
    places = [(layer, _places(model, layer)) for layer in layers]
    try:
        for layer, found in places:
            inside = nn.Sequential(layer)
            for parent, name in found:
                setattr(parent, name, inside)
        with plain_attention(), torch.no_grad():
            run(model, example)
    except AttributeError:
        return False
    finally:
        for layer, found in places:
            for parent, name in found:
                setattr(parent, name, layer)
    return True


def _places(model: nn.Module, layer: nn.Module) -> list[tuple[nn.Module, str]]:
    """Return every module that holds a layer, with the name it has there."""
    return [
        (parent, name)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if child is layer
    ]
