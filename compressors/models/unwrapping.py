"""Copies of a user's model without the wrappers that training put around it or its parts."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from compressors.errors import UnfitModelError

AROUND_MODULE = (DataParallel, DistributedDataParallel, AveragedModel)
"""Wrappers that keep the wrapped model as `module`."""
COPY_ERRORS = (TypeError, RuntimeError, NotImplementedError, AttributeError)
"""What objects that cannot be copied raise: locks, open files, generators, autograd's tensors."""


def detached_copy(model: nn.Module) -> nn.Module:
    """Return an independent copy of a model without wrappers; the model is not changed.

    Tensors that autograd has computed, such as the weights of the older weight norm, are copied by
    value. Modules that `torch.compile` wraps or compiles in place are not compiled in the copy.

    Raises:
        UnfitModelError: A part is a ScriptModule or cannot be copied.
    """
    _refuse_scripts(model)
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in _tensors(list(vars(module).values())):
            if tensor.grad_fn is not None:
                memo[id(tensor)] = tensor.detach().clone()
    try:
        for module in reversed(list(model.modules())):
            inner = _wrapped(module)
            if inner is not None:
                memo[id(module)] = deepcopy(inner, memo)
        return deepcopy(model, memo)
    except COPY_ERRORS as error:
        raise UnfitModelError(
            f"the model cannot be copied: {_uncopied(model, memo)}: {error}; keep such objects "
            "outside of the model"
        ) from error


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside all wrappers around it."""
    while (inner := _wrapped(model)) is not None:
        model = inner
    return model


def wrappers(model: nn.Module) -> Iterator[str]:
    """Yield the name of each wrapper of a model or of its parts, with its place."""
    for path, module in model.named_modules():
        place = f" of '{path}'" if path else ""
        if _wrapped(module) is not None:
            name = "torch.compile" if _compiled(module) else type(module).__name__
            yield f"{name}{place}"
        elif getattr(module, "_compiled_call_impl", None) is not None:
            yield f"torch.compile{place}"


def _wrapped(module: nn.Module) -> nn.Module | None:
    """Return the module inside a wrapper; None for any other module."""
    if isinstance(module, AROUND_MODULE):
        return cast(nn.Module, module.module)
    return cast(nn.Module, module._orig_mod) if _compiled(module) else None


def _compiled(module: nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod")


def _refuse_scripts(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"layer '{path}'" if path else "the model"
            raise UnfitModelError(
                f"{what} is a torch.jit.ScriptModule, whose layers cannot be changed; give the "
                "nn.Module that it was scripted or traced from"
            )


def _tensors(values: list[Any]) -> Iterator[Tensor]:
    """Yield the tensors among some values, and in lists, tuples and dicts among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, Tensor))
        elif isinstance(value, dict):
            yield from (item for item in value.values() if isinstance(item, Tensor))


def _uncopied(model: nn.Module, memo: dict[int, Any]) -> str:
    """Return the place of the first attribute of a model that cannot be copied."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            try:
                if name != "_modules":
                    deepcopy(value, dict(memo))
            except COPY_ERRORS:
                return f"{path}.{name}".lstrip(".")
    return "a part of it"
