"""The parameters of a model by the values they have in use, with masks and codes applied."""

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from compressors.weights.encoded import Coded
from compressors.weights.masks import Mask


def parameters_in_use(model: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """Yield module, attribute and value of each parameter, in the shape that the module uses.

    A parameter that several modules share comes once, and a parametrised one comes as the result
    of its parametrisations.
    """
    seen: set[int] = set()
    for path, module in model.named_modules():
        if "parametrizations" in path.split("."):
            continue
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) not in seen:
                seen.add(id(weight))
                yield module, name, weight
        if is_parametrized(module):
            for name, chain in cast(nn.ModuleDict, module.parametrizations).items():
                stored = getattr(chain, "original", chain)
                if id(stored) not in seen:
                    seen.add(id(stored))
                    yield module, name, getattr(module, name)


def has_mask_or_code(module: nn.Module) -> bool:
    """Tell whether a weight of a module itself is masked, shared or quantised."""
    if not is_parametrized(module):
        return False
    chains = cast(nn.ModuleDict, module.parametrizations).values()
    return any(isinstance(part, Mask | Coded) for chain in chains for part in chain.children())
