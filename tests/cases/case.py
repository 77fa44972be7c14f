"""A kind of model that users bring, and what is expected of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Parts = Mapping[str, Any]


def pair(batch: Any) -> tuple[Any, Any]:
    """Return the inputs and the targets of a batch that is a pair."""
    return batch[0], batch[1]


def lone_or_all(outputs: Sequence[Tensor]) -> Any:
    """Return one output as it is, several as a tuple."""
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind: a user's task, and where it is expected to differ from the others."""

    task: Callable[[], Parts]
    """Returns the plain parts of a task; its docstring says in one line what kind it is."""
    refused: str = ""
    """A pattern of the sentence with which the task is refused; empty for one that is studied."""
    channels_stay: str = ""
    """A pattern of the reason why no channels go; empty where some do."""
    left: str = ""
    """The layer that encoding leaves, for a reason that preparation prints; empty for none."""
    read: Callable[[Any], tuple[Any, Any]] = pair
    """From a batch of the user's to the inputs and the targets of the score."""
    structure: Callable[[Sequence[Tensor]], Any] = lone_or_all
    """From the file's outputs in order to what the score is given."""
    whole: Callable[[Sequence[Any], Sequence[Any]], float] | None = None
    """From the outputs and targets of each batch to the score of all, where batches differ in
    length and cannot be joined; None where they can."""

    @property
    def name(self) -> str:
        """The name of the kind."""
        return self.task.__name__

    @property
    def target(self) -> str:
        """The import path of the task, as in a user's configuration."""
        return f"{self.task.__module__}.{self.name}"
