"""What the outputs of a model are: which tensor is distilled, and what its numbers mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from compressors.errors import InfeasibleError
from compressors.outputs.structure import LONE, named_tensors

Kind = Literal["classes", "labels", "values", "embedding"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """Which of a model's output tensors is distilled, and how two of its values are compared."""

    kind: Kind
    """`classes`: logits, of which one class is true; `labels`: logits of labels that are true or
    not, each on its own; `values`: numbers; `embedding`: vectors whose direction counts."""
    axis: int = -1
    """Axis of the classes, or of the embedding; of no meaning for labels and values."""
    name: str = LONE
    """Name of the tensor, as `named_tensors` gives it."""
    training_name: str = LONE
    """Name of the same tensor in training mode, where a model may return another structure."""
    scale: float = 1.0
    """Variance of the values over samples, greater than 0: squared errors are divided by it."""
    by_sample: bool = True
    """Whether the first axis holds the samples."""

    def select(self, outputs: Any, *, training: bool = False) -> Tensor:
        """Return the distilled tensor, of any shape, from outputs of any structure.

        Args:
            outputs: What the model returned.
            training: Whether the model was in training mode.

        Raises:
            InfeasibleError: the outputs hold no such tensor.
        """
        name = self.training_name if training else self.name
        tensors = named_tensors(outputs)
        if name not in tensors:
            raise InfeasibleError(
                f"outputs: the model returns no tensor {name!r}, which is compared with the "
                f"baseline's; it returns {', '.join(tensors) or 'none'}"
            )
        return tensors[name]

    def describe(self, tensor: Tensor) -> str:
        """Return the spec in words, such as `logits [B, 10], classes on axis 1`.

        Args:
            tensor: The distilled tensor for one batch, of any shape.
        """
        sizes = [str(size) for size in tensor.shape]
        if self.by_sample and sizes:
            sizes[0] = "B"
        axis = (
            f" on axis {self.axis % tensor.dim()}" if self.kind in ("classes", "embedding") else ""
        )
        return f"{self.name} [{', '.join(sizes)}], {self.kind}{axis}"


@dataclass(frozen=True, kw_only=True)
class StatedOutputs:
    """What a task says about its outputs; None where it says nothing."""

    name: str | None = None
    kind: Kind | None = None
    axis: int | None = None


def stated_outputs(said: object) -> StatedOutputs:
    """Read the part `outputs` of a task.

    Args:
        said: None; a kind such as `classes`, maybe with an axis as in `classes on axis 1`; or a
            mapping with any of `name`, `kind` and `axis`.

    Raises:
        ValueError: it is none of these.
    """
    if said is None:
        return StatedOutputs()
    if isinstance(said, Mapping) and set(said) <= {"name", "kind", "axis"}:
        parts = dict(said)
    elif isinstance(said, str) and (words := re.fullmatch(r"(\w+)( on axis (-?\d+))?", said)):
        parts = {"kind": words[1]} | ({"axis": int(words[3])} if words[2] else {})
    else:
        parts = {"kind": said}
    if parts.get("kind") not in (None, *KINDS):
        raise ValueError(
            f"outputs must be one of {', '.join(KINDS)}, such as 'classes on axis 1', or a mapping "
            f"with name, kind and axis; got {said!r}"
        )
    return StatedOutputs(**parts)
