"""The weights of a model that can be pruned, shared or quantised, and access to them."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import (
    ParametrizationList,
    is_parametrized,
    register_parametrization,
    remove_parametrizations,
)

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True, kw_only=True, eq=False)
class Weight:
    """One weight and every place that uses it; a tied weight has several places."""

    name: str
    """Path of the weight in the model, at its first place."""
    places: tuple[tuple[nn.Module, str], ...]
    """Module and attribute of each use."""

    def value(self) -> Tensor:
        """Return the weight as the model uses it, `[R, ...]`, after its parametrisations."""
        module, attribute = self.places[0]
        with torch.no_grad():
            return cast(Tensor, getattr(module, attribute)).detach()

    def stored(self) -> Tensor | None:
        """Return the stored parameter `[R, ...]`, None if the weight is made of several."""
        module, attribute = self.places[0]
        if not is_parametrized(module, attribute):
            return cast(Tensor, getattr(module, attribute))
        return cast(Tensor | None, getattr(_chain(module, attribute), "original", None))

    def chain(self) -> tuple[nn.Module, ...]:
        """Return the parametrisations of the weight, the innermost first."""
        module, attribute = self.places[0]
        if not is_parametrized(module, attribute):
            return ()
        return tuple(_chain(module, attribute))

    def add(self, parametrisation: nn.Module) -> None:
        """Put a parametrisation on top of the others, the same object at every place."""
        for module, attribute in self.places:
            register_parametrization(module, attribute, parametrisation)
            _settle(module)

    def replace(self, stored: Tensor, parametrisation: nn.Module) -> None:
        """Replace the parameter and all parametrisations of the weight.

        Args:
            stored: The new parameter, of any shape.
            parametrisation: Makes the weight `[R, ...]` from `stored`.
        """
        parameter = nn.Parameter(stored, requires_grad=False)
        for module, attribute in self.places:
            if is_parametrized(module, attribute):
                remove_parametrizations(module, attribute)
            setattr(module, attribute, parameter)
            register_parametrization(module, attribute, parametrisation, unsafe=True)
            _settle(module)


def compressible_weights(model: nn.Module) -> list[Weight]:
    """Return the floating weights of two or more axes outside normalisation layers, each once.

    A weight is a parameter with "weight" in its name: in linear, convolution, embedding, attention
    and recurrent layers, and in modules of the user's own.
    """
    places: dict[int, list[tuple[str, nn.Module, str]]] = {}
    for path, module in model.named_modules():
        if isinstance(module, NORMS):
            continue
        for attribute in _weight_attributes(module):
            found = (f"{path}.{attribute}".lstrip("."), module, attribute)
            places.setdefault(_identity(module, attribute), []).append(found)
    return [
        Weight(name=uses[0][0], places=tuple((module, attribute) for _, module, attribute in uses))
        for uses in places.values()
    ]


def _settle(module: nn.Module) -> None:
    """Put the parametrisations of a module in the mode that the module is in."""
    cast(nn.ModuleDict, module.parametrizations).train(module.training)


def _weight_attributes(module: nn.Module) -> list[str]:
    own = [name for name, value in module.named_parameters(recurse=False) if value is not None]
    parametrised = (
        list(cast(nn.ModuleDict, module.parametrizations)) if is_parametrized(module) else []
    )
    with torch.no_grad():
        return [n for n in own + parametrised if "weight" in n and _is_matrix(getattr(module, n))]


def _is_matrix(weight: Tensor) -> bool:
    """Return whether a parameter `[R, ...]` has rows of floats; an index of integers has none."""
    return weight.dim() >= 2 and weight.is_floating_point()


def _identity(module: nn.Module, attribute: str) -> int:
    if not is_parametrized(module, attribute):
        return id(getattr(module, attribute))
    chain = _chain(module, attribute)
    return id(chain.original if chain.is_tensor else chain)


def _chain(module: nn.Module, attribute: str) -> ParametrizationList:
    chains = cast(nn.ModuleDict, module.parametrizations)
    return cast(ParametrizationList, chains[attribute])
