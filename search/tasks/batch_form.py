"""What a loader yields, read as the inputs of the model and the targets of loss and score."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from compressors.base import Inputs
from compressors.models.plain_layers import in_float32
from search.errors import ConfigError

LABEL_KEYS = ("labels", "label", "targets", "target", "y")
"""Names under which a mapping keeps its targets, the first that it has; never inputs."""
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class WholeBatch(NamedTuple):
    """The targets of a batch, and the batch as the loader yields it for the user's own step."""

    targets: Any
    batch: Any


@dataclass(frozen=True, kw_only=True)
class BatchForm:
    """How the batches of a task are read."""

    accepted: tuple[str, ...] | None = None
    """Names of the inputs that the model's `forward` takes, in order; None for any name."""
    target_key: str = ""
    """The key of a mapping that holds the targets; empty for one of `LABEL_KEYS`."""
    whole: bool = False
    """Whether the targets are a `WholeBatch`."""

    def read(self, batch: Any) -> tuple[Inputs, Any]:
        """Return the inputs `[B, ...]`, floats in float32, and the targets of a batch.

        A batch is `(inputs, targets)`, where more items are ignored, a mapping with a key for the
        targets, or inputs alone, which are then the targets too. Inputs that are None are left out.

        Raises:
            ConfigError: A mapping has no key for the targets, or an input is no tensor.
        """
        given, targets = self._parted(batch)
        inputs = in_float32(self._chosen(given))
        targets = inputs if targets is given else targets
        return inputs, WholeBatch(targets, batch) if self.whole else targets

    def inputs_as_given(self, batch: Any) -> Inputs:
        """Return the inputs `[B, ...]` of a batch in the types that the loader yields."""
        return self._chosen(self._parted(batch)[0])

    def example_as_given(self, example: Any) -> Inputs:
        """Return an example, inputs alone `[B, ...]`, in the types that the user gives."""
        labelled = isinstance(example, Mapping) and {self.target_key, *LABEL_KEYS} & set(example)
        return self.inputs_as_given(example) if labelled else self._chosen(example)

    def _parted(self, batch: Any) -> tuple[Any, Any]:
        """Return inputs and targets; the same object twice where the targets are the inputs."""
        if isinstance(batch, Mapping):
            key = self._label_key(batch)
            hidden = {*LABEL_KEYS, *({key} - set(self.accepted or ()))}
            return {name: v for name, v in batch.items() if name not in hidden}, batch[key]
        if isinstance(batch, tuple | list):
            if not batch:
                raise ConfigError("a batch is empty; it must be (inputs, targets) or a mapping")
            return batch[0], batch[1] if len(batch) > 1 else batch[0]
        return batch, batch

    def _label_key(self, batch: Mapping[str, Any]) -> str:
        wanted = (self.target_key,) if self.target_key else LABEL_KEYS
        found = [key for key in wanted if key in batch]
        if not found:
            raise ConfigError(
                f"a batch has the keys {', '.join(map(str, batch))} and none for the targets "
                f"({', '.join(wanted)}); name it in the task's part target_key"
            )
        return found[0]

    def _chosen(self, given: Any) -> Inputs:
        """Return the inputs that the model takes, as one tensor, positional or named tensors."""
        if isinstance(given, Mapping):
            return self._named(given)
        if isinstance(given, tuple | list):
            return self._positional(list(given))
        return _tensor("input", given)

    def _named(self, given: Mapping[str, Any]) -> Inputs:
        """Return the named inputs; a single one goes to a single argument of any name."""
        there = {name: value for name, value in given.items() if value is not None}
        if self.accepted is None:
            return {name: _tensor(name, value) for name, value in there.items()}
        taken = {name: _tensor(name, v) for name, v in there.items() if name in self.accepted}
        if not taken and len(there) == len(self.accepted) == 1:
            return _tensor(*next(iter(there.items())))
        if not taken:
            raise ConfigError(
                f"the model takes {', '.join(self.accepted)}, but a batch holds "
                f"{', '.join(map(str, given))}; name the inputs alike"
            )
        return taken

    def _positional(self, given: list[Any]) -> Inputs:
        """Return positional inputs; those behind a None become named ones."""
        while given and given[-1] is None:
            given.pop()
        if not any(value is None for value in given):
            return tuple(_tensor(f"input {n}", value) for n, value in enumerate(given))
        if self.accepted is None:
            raise ConfigError("an input is None; give the inputs as a mapping by their names")
        return self._named(dict(zip(self.accepted, given, strict=False)))


PAIRS = BatchForm()
"""Batches of inputs and targets, for a model that takes inputs of any name."""


def batch_form(model: nn.Module, target_key: str = "", *, whole: bool = False) -> BatchForm:
    """Return how batches are read for a model, by the arguments of its `forward`."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters):
        accepted = None
    else:
        accepted = tuple(p.name for p in parameters if p.kind in BY_NAME)
    return BatchForm(accepted=accepted, target_key=target_key, whole=whole)


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if not isinstance(value, Tensor):
        raise ConfigError(
            f"{name} of a batch is of type {type(value).__name__}; the inputs of a model must be "
            "tensors, so collate the batch into tensors"
        )
    return value


def of_targets(loss: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """Return a loss that takes a `WholeBatch`, where there is one, for the targets in it.

    The loss takes outputs `[B, ...]` and targets and returns a scalar.
    """

    def loss_of_targets(outputs: Any, targets: Any) -> Tensor:
        return loss(outputs, targets.targets if isinstance(targets, WholeBatch) else targets)

    return loss_of_targets


@dataclass(frozen=True, kw_only=True)
class HeldOutBatches:
    """The batches of validation or test data, read as inputs and targets in every pass."""

    name: str
    """The task's part, for messages."""
    batches: Any
    """What the user gives: a loader, a list, or a function without arguments that returns one.
    What can be iterated is never called: it may need an epoch for that."""
    form: BatchForm

    def __iter__(self) -> Iterator[tuple[Inputs, Any]]:
        """Yield inputs `[B, ...]` and targets; batches that are None are left out."""
        found, called = False, callable(self.batches) and not hasattr(self.batches, "__iter__")
        for batch in self.batches() if called else self.batches:
            if batch is not None:
                found = True
                inputs, targets = self.form.read(batch)
                yield inputs, targets.targets if isinstance(targets, WholeBatch) else targets
        if not found:
            raise empty_data(self.name)


def empty_data(name: str) -> ConfigError:
    """Return the error for data without a batch."""
    return ConfigError(
        f"the task's {name} data yield no batch; is the data set empty, or smaller than a batch of "
        "a loader with drop_last=True?"
    )


def check_repeatable_data(name: str, data: Any) -> None:
    """Check that data can be read more than once.

    Raises:
        ConfigError: They are a generator or another iterator, or cannot be iterated.
    """
    if isinstance(data, Iterator):
        raise ConfigError(
            f"the task's {name} data are a {type(data).__name__}, which can be read once; give a "
            "list, a DataLoader, or a function that returns a new one"
        )
    if not callable(data) and not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise ConfigError(
            f"the task's {name} data must be iterable, got {type(data).__name__}; give a list or a "
            "DataLoader of batches"
        )
