"""The numbers under which the layers of a causal model keep keys and values between calls."""

from torch import nn

ATTRIBUTE = "layer_idx"


def close_cache_slot(model: nn.Module, removed: nn.Module) -> None:
    """Number the layers behind a removed one anew, in place, so that no slot of a cache is empty.

    A cache reads the length of the text from its first slot.

    Args:
        model: A model that still holds the layer, in a list of layers.
        removed: The layer that goes.
    """
    if not _numbered(removed):
        return
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList) and removed in list(stack):
            behind = list(stack)[list(stack).index(removed) + 1 :]
            for module in {module for layer in behind for module in _numbered(layer)}:
                setattr(module, ATTRIBUTE, getattr(module, ATTRIBUTE) - 1)


def _numbered(layer: nn.Module) -> list[nn.Module]:
    return [module for module in layer.modules() if type(vars(module).get(ATTRIBUTE)) is int]
