"""The calls of one module in a run of its model, recorded so that they can be repeated."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from compressors.base import Inputs
from compressors.models.fused_attention import run_unfused
from compressors.models.hooks import forward_pre_hooks


@dataclass(frozen=True, eq=False)
class Call:
    """The arguments of one call of a module."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def repeat(self, module: nn.Module) -> Any:
        """Return what a module returns for these arguments."""
        return module(*self.args, **self.kwargs)


def recorded_calls(model: nn.Module, example: Inputs, module: nn.Module) -> list[Call]:
    """Return every call of a module in one run of the model on a batch `[B, ...]`, in order."""
    calls: list[Call] = []

    def record(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(Call(args, kwargs))

    with forward_pre_hooks([module], record, with_kwargs=True):
        run_unfused(model, example)
    return calls
