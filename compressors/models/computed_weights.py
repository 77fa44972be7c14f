"""Weights that hooks or parametrisations compute in every call, baked into plain parameters."""

from collections.abc import Iterator
from typing import cast

from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import (
    ParametrizationList,
    is_parametrized,
    remove_parametrizations,
)
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

PACKAGE = __name__.partition(".")[0]


def bake_hooks(model: nn.Module) -> list[str]:
    """Bake the older `weight_norm` and `spectral_norm` and leftover pruning masks, in place.

    A baked weight is frozen if everything that it was computed from is.

    Returns:
        What was baked, one clause for each kind.
    """
    baked: dict[str, list[str]] = {}
    for path, module in model.named_modules():
        for hook in list(module._forward_pre_hooks.values()):
            if not isinstance(hook, WeightNorm | SpectralNorm | prune.BasePruningMethod):
                continue
            name = cast(str, getattr(hook, "name", None) or getattr(hook, "_tensor_name", None))
            trained = _any_requires_grad(module, name)
            if isinstance(hook, WeightNorm):
                kind = "weight_norm"
                remove_weight_norm(module, name)
            elif isinstance(hook, SpectralNorm):
                kind = "spectral_norm"
                remove_spectral_norm(module, name)
            else:
                kind = "masks of torch.nn.utils.prune"
                prune.remove(module, name)  # type: ignore[no-untyped-call]
            getattr(module, name).requires_grad_(trained)
            baked.setdefault(kind, []).append(f"{path}.{name}".lstrip("."))
        _refresh(module)
    return list(_clauses(baked))


def bake_parametrisations(model: nn.Module) -> list[str]:
    """Bake the parametrisations that are not of this package, in place.

    Returns:
        What was baked, one clause for each kind.
    """
    baked: dict[str, list[str]] = {}
    for path, module in list(model.named_modules()):
        chains = dict(cast(nn.ModuleDict, module.parametrizations)) if _parametrised(module) else {}
        for name, found in chains.items():
            chain = cast(ParametrizationList, found)
            if any(type(part).__module__.startswith(f"{PACKAGE}.") for part in chain):
                continue
            trained = any(p.requires_grad for p in chain.parameters())
            kind = type(chain[-1]).__name__.strip("_")
            _own_original(model, chain)
            remove_parametrizations(module, name, leave_parametrized=True)
            _as_parameter(module, name, trained=trained)
            baked.setdefault(f"parametrisation {kind}", []).append(f"{path}.{name}".lstrip("."))
        _refresh(module)
    return list(_clauses(baked))


def _parametrised(module: nn.Module) -> bool:
    return is_parametrized(module)


def _any_requires_grad(module: nn.Module, name: str) -> bool:
    """Return whether a parameter that a hook computes `name` from requires a gradient."""
    own = module.named_parameters(recurse=False)
    sources = [p for key, p in own if key in (f"{name}_g", f"{name}_v", f"{name}_orig")]
    return any(parameter.requires_grad for parameter in sources)


def _own_original(model: nn.Module, chain: ParametrizationList) -> None:
    """Give a chain a parameter of its own where another place of the model has the same one."""
    if chain.is_tensor:
        original = cast(nn.Parameter, chain.original)
        places = [p for _, p in model.named_parameters(remove_duplicate=False) if p is original]
        if len(places) > 1:
            chain.original = nn.Parameter(original.detach().clone(), original.requires_grad)


def _as_parameter(module: nn.Module, name: str, *, trained: bool) -> None:
    """Register a baked weight as a parameter: torch makes one without a gradient a buffer."""
    baked = getattr(module, name).detach()
    module._buffers.pop(name, None)
    module.register_parameter(name, nn.Parameter(baked, requires_grad=trained))


def _refresh(module: nn.Module) -> None:
    """Have a recurrent layer take up its parameters as they are now registered."""
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def _clauses(baked: dict[str, list[str]]) -> Iterator[str]:
    for kind, names in baked.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{kind} is baked into {', '.join(names[:3])}{more}"
