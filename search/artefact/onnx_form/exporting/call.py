"""How an exporter calls a model, and how inputs and outputs are called in its graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import count
from pathlib import Path

from torch import Tensor, nn

from compressors.base import Inputs
from search.tasks.free_axes import FreeAxes, named_tensors

INTERNAL = ":"
"""Ends the names that inputs and outputs have while they are exported. No parameter and no variable
of Python has it in its name, so that they clash with nothing in the graph."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a model, and the names in its graph."""

    example: Inputs
    """One batch of inputs `[B, ...]`, B at least 2."""
    names: Sequence[str]
    """The names of the inputs in the order of the model's parameters."""
    free_axes: FreeAxes
    outputs: Sequence[str]
    """The names of the outputs, of which none is the name of an input."""
    outside: Path | None = None
    """The folder for the weights of a large model, which are not in its graph; None for others."""

    @classmethod
    def of(
        cls,
        model: nn.Module,
        example: Inputs,
        free_axes: FreeAxes,
        outputs: Sequence[str],
        *,
        outside: Path | None = None,
    ) -> "Call":
        """Return the call of a model on a batch of inputs `[B, ...]`.

        Args:
            model: The model, whose `forward` gives the order of named inputs.
            example: The batch.
            free_axes: The axes of the inputs that stay free in the graph.
            outputs: The names of the outputs; one that is the name of an input gets a number.
            outside: The folder for the weights of a large model.
        """
        names = list(named_tensors(example))
        if isinstance(example, Mapping):
            taken = [name for name in signature(model.forward).parameters if name in example]
            names = taken + [name for name in names if name not in taken]
        fresh = [_unlike(name, names) for name in outputs]
        return cls(
            example=example,
            names=names,
            free_axes=free_axes,
            outputs=fresh,
            outside=outside,
        )

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """The positional inputs, `[B, ...]` each."""
        if isinstance(self.example, Mapping):
            return ()
        return (self.example,) if isinstance(self.example, Tensor) else tuple(self.example)

    @property
    def keywords(self) -> dict[str, Tensor]:
        """The named inputs, `[B, ...]` each, in the order of the model's parameters."""
        if not isinstance(self.example, Mapping):
            return {}
        return {name: self.example[name] for name in self.names}

    @property
    def public_names(self) -> dict[str, str]:
        """The names of inputs and outputs by those that they have while they are exported."""
        return {f"{name}{INTERNAL}": name for name in (*self.names, *self.outputs)}

    @property
    def axes_by_internal_name(self) -> dict[str, Mapping[int, str]]:
        """The free axes by the names that the inputs have while they are exported."""
        return {f"{name}{INTERNAL}": self.free_axes[name] for name in self.names}

    @property
    def internal_outputs(self) -> list[str]:
        """The names that the outputs have while they are exported."""
        return [f"{name}{INTERNAL}" for name in self.outputs]


def _unlike(name: str, names: Sequence[str]) -> str:
    """Return a name, with a number if it is among these names."""
    if name not in names:
        return name
    return next(f"{name}_{n}" for n in count(1) if f"{name}_{n}" not in names)
