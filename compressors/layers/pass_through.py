"""The stand-in for a removed block: it returns what it is given, in the block's own structure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from compressors.base import output_tensors

PLAIN_TYPES = (bool, int, float, str)
"""Types of attributes that a stand-in has like its block: callers may read them."""


@dataclass(frozen=True)
class Given:
    """One argument of a call."""

    key: int | str
    """Position, or keyword."""

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the argument."""
        return args[self.key] if isinstance(self.key, int) else kwargs[self.key]


@dataclass(frozen=True)
class Nested:
    """A tuple, list, mapping or dataclass of outputs."""

    kind: Any
    """The class."""
    items: dict[Any, Any]
    """`Given`, `Nested` or a constant, by key or position."""

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the structure with the arguments of a call in it."""
        values = {key: filled(item, args, kwargs) for key, item in self.items.items()}
        if issubclass(self.kind, tuple | list):
            items = list(values.values())
            return self.kind(*items) if hasattr(self.kind, "_fields") else self.kind(items)
        named = hasattr(self.kind, "__dataclass_fields__")
        return self.kind(**values) if named else self.kind(values)


def filled(template: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the outputs that a template describes, for the arguments of one call."""
    return template.of(args, kwargs) if isinstance(template, Given | Nested) else template


class PassThrough(nn.Module):
    """A module in place of a removed block, which returns its first input.

    What the block returns beside that, such as a cache or None, is returned in its place.
    """

    def __init__(self, state: Given | None = None, outputs: Any = None) -> None:
        """Keep what to return.

        Args:
            state: The argument that runs through, by default the first.
            outputs: The structure to return, `Given` or `Nested`, by default the state alone.
        """
        super().__init__()
        self.state = state or Given(0)
        self.outputs = outputs or self.state

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state itself, `[B, ...]`, in the structure that the block returned."""
        return filled(self.outputs, args, kwargs)

    def pair(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the block's state before and after one of its calls, `[B, ...]` both."""
        return self.state.of(args, kwargs), output_tensors(outputs)[0]


def pass_through_of(
    block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: Any
) -> PassThrough | None:
    """Return the stand-in that may be called and read like a block, None if there is none.

    There is one if the first output has the shape and type of the first input, and all others are
    constants or inputs that the block hands on.

    Args:
        block: The block.
        args: Positional arguments of one of its calls.
        kwargs: Named arguments of this call.
        outputs: What this call returned.
    """
    given: dict[int | str, Any] = dict(enumerate(args))
    given.update(kwargs.items())
    state = next((Given(k) for k, v in given.items() if isinstance(v, Tensor)), None)
    tensors = output_tensors(outputs)
    if state is None or not tensors or not _alike(given[state.key], tensors[0]):
        return None
    known = {id(value): Given(key) for key, value in reversed(list(given.items()))}
    known[id(tensors[0])] = state
    try:
        stand_in = PassThrough(state, _template(outputs, known))
    except LookupError:
        return None
    for name, value in _plain_attributes(block).items():
        if not hasattr(stand_in, name):
            setattr(stand_in, name, value)
    return stand_in.eval()


def _plain_attributes(block: nn.Module) -> dict[str, Any]:
    """Return the constants of a block and of its classes, by name."""
    own = [cls for cls in reversed(type(block).__mro__) if cls not in nn.Module.__mro__]
    found = {name: value for part in (*own, block) for name, value in vars(part).items()}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, PLAIN_TYPES) and not name.startswith("__")
    }


def _alike(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors have the same shape and the same floating-point type."""
    same = one.shape == other.shape and one.dtype == other.dtype
    return same and one.is_floating_point()


def _template(outputs: Any, known: Mapping[int, Given]) -> Any:
    """Return outputs with their tensors and objects replaced by the arguments that they are.

    Raises:
        LookupError: one is neither an argument nor a constant.
    """
    if outputs is None or isinstance(outputs, PLAIN_TYPES):
        return outputs
    if id(outputs) in known:
        return known[id(outputs)]
    items = _items(outputs)
    if items is None:
        raise LookupError("an output of the block's own")
    return Nested(type(outputs), {key: _template(item, known) for key, item in items.items()})


def with_tensors(outputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return outputs of any structure with each tensor `[B, ...]` replaced by another."""
    if isinstance(outputs, Tensor):
        return change(outputs)
    items = _items(outputs)
    if items is None:
        return outputs
    changed = {key: with_tensors(item, change) for key, item in items.items()}
    return Nested(type(outputs), changed).of((), {})


def _items(outputs: Any) -> dict[Any, Any] | None:
    """Return what a structure holds by key or position, None if it is no structure."""
    if isinstance(outputs, tuple | list):
        return dict(enumerate(outputs))
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if is_dataclass(outputs):
        return {field.name: getattr(outputs, field.name) for field in fields(outputs)}
    return None
