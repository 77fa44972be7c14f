"""Which layers of a model can be replaced by two others."""

from collections.abc import Iterable
from typing import cast

from torch import nn

from compressors.base import Inputs
from compressors.layers.factors import FactorisableLayer
from compressors.models.calibration import few
from compressors.models.computed import computes_weights
from compressors.models.fused_attention import run_unfused
from compressors.models.hooks import forward_hooks
from compressors.models.replacing import places_of

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Types that two layers of the same type can replace; subclasses may do more."""


def factorisable_layers(model: nn.Module, example: Inputs) -> dict[str, FactorisableLayer]:
    """Return the layers that two layers can replace, by name.

    These are plain linear and ungrouped convolution layers that are called as modules, have no
    hooks, share their weight with nothing and carry no parametrisation. A layer whose attributes
    other code reads while the model runs is left out, such as the out-projection of attention;
    torch's encoder layers are in, since they need not read theirs.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device; few samples are run.
    """
    example = few(example)
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    plain = {
        name: module
        for name, module in model.named_modules()
        if name and _is_plain(module) and uses[id(module.weight)] == 1
    }
    called = _called(model, example, set(plain.values()))
    found = {name: module for name, module in plain.items() if module in called}
    if not _runs_without_attributes(model, example, found.values()):
        found = {n: m for n, m in found.items() if _runs_without_attributes(model, example, [m])}
    return cast(dict[str, FactorisableLayer], found)


def why_not_factorisable(model: nn.Module, layer: nn.Module) -> str:
    """Return why two layers cannot replace a layer that `factorisable_layers` leaves out."""
    if layer is model:
        return "it is the whole model"
    if computes_weights(layer):
        return "its weight is computed anew in each pass (by a parametrisation or hook)"
    held = {id(parameter) for parameter in layer.parameters(recurse=False)}
    for name, module in model.named_modules():
        own = module.named_parameters(recurse=False)
        tied = [attribute for attribute, parameter in own if id(parameter) in held]
        if module is not layer and tied:
            return f"its {tied[0]} is shared with {name}"
    if type(layer) not in PLAIN:
        return f"it is a {type(layer).__name__}, no plain linear or convolution layer"
    if getattr(layer, "groups", 1) > 1:
        return "it is a grouped convolution"
    if layer._forward_hooks or layer._forward_pre_hooks:
        return "it has hooks"
    return "the model's code reads its attributes, or does not call it as a layer"


def _is_plain(module: nn.Module) -> bool:
    if type(module) not in PLAIN:
        return False
    hooked = module._forward_hooks or module._forward_pre_hooks
    return not hooked and getattr(module, "groups", 1) == 1


def _called(model: nn.Module, example: Inputs, layers: set[nn.Module]) -> set[nn.Module]:
    called: set[nn.Module] = set()
    with forward_hooks(layers, lambda layer, _args, _output: called.add(layer)):
        run_unfused(model, example)
    return called


def _runs_without_attributes(
    model: nn.Module, example: Inputs, layers: Iterable[nn.Module]
) -> bool:
    """Tell whether the model runs when these layers have none of their attributes."""
    places = [(layer, places_of(model, layer)) for layer in layers]
    try:
        for layer, parents in places:
            without_attributes = nn.Sequential(layer)
            for parent, name in parents:
                setattr(parent, name, without_attributes)
        run_unfused(model, example)
    except AttributeError:
        return False
    finally:
        for layer, parents in places:
            for parent, name in parents:
                setattr(parent, name, layer)
    return True
