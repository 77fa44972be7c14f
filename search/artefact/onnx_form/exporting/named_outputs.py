"""Outputs of any structure as the named outputs of a graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import Tensor, nn

from compressors.outputs.structure import LONE, named_tensors


@contextmanager
def flat_outputs(model: nn.Module) -> Iterator[None]:
    """Make a model return a tuple of its output tensors in order, inside the block.

    The names of its modules and the signature of `forward` stay. A tensor that is returned twice,
    or that is an input, is copied: a graph has one name for a value.
    """
    forward = model.forward

    @wraps(forward)
    def flat(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        outputs = named_tensors(forward(*args, **kwargs)).values()
        seen = {id(tensor) for tensor in named_tensors([args, kwargs]).values()}
        return tuple(_once(tensor, seen) for tensor in outputs)

    with replaced_forward(model, flat):
        yield


@contextmanager
def replaced_forward(model: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Give a model another `forward` inside the block; the names of its modules stay."""
    own = vars(model).get("forward")
    vars(model)["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del vars(model)["forward"]
        else:
            vars(model)["forward"] = own


def output_name(name: str) -> str:
    """Return the name that an output has in a graph; one that begins with a digit gets a word."""
    return f"{LONE}_{name}" if name[:1].isdigit() else name


def _once(tensor: Tensor, seen: set[int]) -> Tensor:
    new = id(tensor) not in seen
    seen.add(id(tensor))
    return tensor if new else tensor.clone()
