"""Outputs of any structure as named tensors, and back."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

LONE = "output"
"""Name of a tensor that is all that a model returns."""

T = TypeVar("T")


def named_tensors(outputs: object) -> dict[str, Tensor]:
    """Return the tensors in a model's outputs by name, in order.

    The name is the key, the field or the position of the tensor; those of nested structures are
    joined by a dot. A lone tensor is called `output`.

    Args:
        outputs: A tensor of any shape, or tuples, lists, mappings and dataclasses of outputs;
            anything else, such as None, holds no tensor.

    Raises:
        ValueError: two tensors have the same name.
    """
    found: dict[str, Tensor] = {}
    for path, tensor in _leaves(outputs):
        name = ".".join(path) or LONE
        if name in found:
            raise ValueError(f"the model returns two tensors with the name {name!r}; rename one")
        found[name] = tensor
    return found


def part_names(outputs: object, path: tuple[str, ...] = ()) -> set[str]:
    """Return the names of all parts of a model's outputs, tensors or not, but those that are None.

    Args:
        outputs: Outputs of any structure.
        path: The names of the structures that these outputs lie in.
    """
    items = [(key, item) for key, item in _items(outputs) if item is not None]
    if not items:
        return {".".join(path) or LONE}
    return set().union(*(part_names(item, (*path, key)) for key, item in items))


def floating_tensors(outputs: object) -> dict[str, Tensor]:
    """Return those of the named tensors, of any shape, that hold floating-point numbers."""
    return {n: t for n, t in named_tensors(outputs).items() if t.is_floating_point()}


def rebuild(like: T, tensors: Mapping[str, Tensor]) -> T:
    """Return outputs of the same structure with other tensors; what is no tensor is kept.

    Args:
        like: Outputs of any structure.
        tensors: The new tensors of any shape, by the names that `named_tensors` gives.

    Raises:
        KeyError: a name is missing.
    """
    made: T = _rebuilt(like, (), lambda path: tensors[".".join(path) or LONE])
    return made


def mapped(outputs: T, change: Callable[[Tensor], Tensor]) -> T:
    """Return outputs of the same structure with every tensor, of any shape, changed."""
    return rebuild(outputs, {name: change(t) for name, t in named_tensors(outputs).items()})


def matching(outputs: object, others: object) -> dict[str, str]:
    """Return for each floating tensor of some outputs the name of the same tensor in others.

    Outputs in training mode may have another structure and differ by dropout and by batch-norm.
    The same tensor has the same shape and the least squared distance; each is taken once.

    Args:
        outputs: Outputs of any structure, tensors of any shape.
        others: Outputs for the same inputs.
    """
    left = floating_tensors(others)
    found: dict[str, str] = {}
    for name, tensor in floating_tensors(outputs).items():
        alike = [other for other in left if left[other].shape == tensor.shape]
        if alike:
            found[name] = min(alike, key=lambda other: _distance(left[other], tensor))
            del left[found[name]]
    return found


def batch_axis(tensor: Tensor, samples: int, smaller: Tensor, fewer: int) -> int | None:
    """Return the axis of an output that holds the samples; None if there is none.

    Args:
        tensor: The output for a batch, of any shape.
        samples: Samples of that batch.
        smaller: The same output for a smaller batch.
        fewer: Samples of the smaller batch.
    """
    if tensor.dim() != smaller.dim():
        return None
    pairs = enumerate(zip(tensor.shape, smaller.shape, strict=True))
    return next((axis for axis, sizes in pairs if sizes == (samples, fewer)), None)


def _leaves(
    outputs: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    if isinstance(outputs, Tensor):
        yield path, outputs
        return
    for key, item in _items(outputs):
        yield from _leaves(item, (*path, key))


def _items(outputs: object) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a structure by name; nothing for what is no structure."""
    if is_dataclass(outputs) and not isinstance(outputs, type):
        yield from ((field.name, getattr(outputs, field.name)) for field in fields(outputs))
    elif isinstance(outputs, Mapping):
        yield from ((str(key), item) for key, item in outputs.items())
    elif isinstance(outputs, tuple | list):
        names = getattr(outputs, "_fields", None) or map(str, range(len(outputs)))
        yield from zip(names, outputs, strict=True)


def _rebuilt(like: Any, path: tuple[str, ...], tensor: Callable[[tuple[str, ...]], Tensor]) -> Any:
    if isinstance(like, Tensor):
        return tensor(path)
    parts = {key: _rebuilt(item, (*path, key), tensor) for key, item in _items(like)}
    if is_dataclass(like) and not isinstance(like, type):
        return replace(like, **{f.name: parts[f.name] for f in fields(like) if f.init})
    if isinstance(like, Mapping):
        made = copy(like) if isinstance(like, MutableMapping) else dict(like)
        for key in list(like):
            made[key] = parts[str(key)]
        return made
    if isinstance(like, tuple) and hasattr(like, "_fields"):
        return type(like)(*parts.values())
    return type(like)(parts.values()) if isinstance(like, tuple | list) else like


def _distance(one: Tensor, other: Tensor) -> float:
    distance = float((one.detach().float() - other.detach().float()).square().sum())
    return distance if distance == distance else torch.inf
