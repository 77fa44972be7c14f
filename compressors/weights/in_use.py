"""The parameters of a model by the values they have in use, with masks and codes applied."""

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized


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
