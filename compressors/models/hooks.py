"""Hooks that stay on modules for the length of a `with` block, and are removed however it ends."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

Hook = Callable[..., Any]
"""What torch calls: `(module, args[, kwargs], output)` after a forward pass, without the output
before one. A returned value other than None replaces the output, or the arguments."""


def forward_hooks(
    modules: Iterable[nn.Module], hook: Hook, *, with_kwargs: bool = False
) -> ExitStack:
    """Call a function after every forward pass of some modules, until the returned stack closes.

    Args:
        modules: The modules that get the hook.
        hook: The function, `(module, args, output)`.
        with_kwargs: Call it with `(module, args, kwargs, output)`.
    """
    with ExitStack() as handles:
        for module in modules:
            handles.enter_context(module.register_forward_hook(hook, with_kwargs=with_kwargs))
        return handles.pop_all()


def forward_pre_hooks(
    modules: Iterable[nn.Module], hook: Hook, *, with_kwargs: bool = False
) -> ExitStack:
    """Call a function before every forward pass of some modules, until the returned stack closes.

    Args:
        modules: The modules that get the hook.
        hook: The function, `(module, args)`.
        with_kwargs: Call it with `(module, args, kwargs)`.
    """
    with ExitStack() as handles:
        for module in modules:
            handles.enter_context(module.register_forward_pre_hook(hook, with_kwargs=with_kwargs))
        return handles.pop_all()


@contextmanager
def running_modules(model: nn.Module, running: list[str]) -> Iterator[None]:
    """Keep the names of the modules that run in a list, the innermost last, inside the block."""
    names = {module: name for name, module in model.named_modules()}
    with (
        forward_pre_hooks(names, lambda module, _args: running.append(names[module])),
        forward_hooks(names, lambda _module, _args, _output: _discard_last(running)),
    ):
        yield


def _discard_last(running: list[str]) -> None:
    running.pop()
