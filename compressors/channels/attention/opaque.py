"""Attention as a single step of a traced graph: what goes on inside is known already.

torch-pruning follows each index through every view and concatenation of the heads, which does not
end on rotary positions.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compressors.channels.attention.projected import ProjectedAttention
from compressors.models.hooks import forward_hooks, forward_pre_hooks


class _Joined(torch.autograd.Function):
    """One step of autograd's graph from the projections to what attention makes of them."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, *_projections: Tensor) -> Tensor:
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> Any:
        raise NotImplementedError


@contextmanager
def opaque_attention(attentions: Iterable[ProjectedAttention]) -> Iterator[None]:
    """Show each attention as one step in autograd's graph, inside the block."""
    with ExitStack() as hooks:
        for attention in attentions:
            hooks.enter_context(_one_step(attention))
        yield


@contextmanager
def _one_step(attention: ProjectedAttention) -> Iterator[None]:
    made: list[Tensor] = []

    def keep(_layer: nn.Module, _args: Any, output: Tensor) -> None:
        made.append(output)

    def joined(output: Tensor) -> Any:
        step = _Joined.apply(output.detach(), *made)  # type: ignore[no-untyped-call]
        made.clear()
        return step

    def receive(_layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (joined(args[0]), *args[1:])

    def end(_module: nn.Module, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (joined(output[0]), *output[1:])
        return joined(output)

    child = attention.module.get_submodule
    with ExitStack() as hooks:
        hooks.enter_context(forward_hooks([child(name) for name in attention.inward], keep))
        if attention.out is None:
            hooks.enter_context(forward_hooks([attention.module], end))
        else:
            hooks.enter_context(forward_pre_hooks([child(attention.out)], receive))
        yield
