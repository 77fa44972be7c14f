"""A loss that also takes what a model returns in training mode."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from compressors.base import Inputs
from compressors.outputs.structure import named_tensors, rebuild
from search.tasks.output_intake import training_names


class TrainingLoss:
    """The user's loss; outputs that only training has, such as auxiliary ones, are left out for it.

    They are left out where the user's loss fails on outputs of the structure of training mode.
    """

    def __init__(
        self, loss: Callable[[Any, Any], Tensor], model: nn.Module, example: Inputs, outputs: Any
    ) -> None:
        """Keep the parts.

        Args:
            loss: The user's loss, from outputs and targets to a scalar.
            model: The baseline, in eval mode.
            example: One batch of inputs `[B, ...]`.
            outputs: What the model returns in eval mode, of any structure.
        """
        self._loss, self._model, self._example, self._like = loss, model, example, outputs
        self._form = _form(outputs)
        self._names: dict[str, str] = {}

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """Return the mean loss of a batch, a scalar, of outputs in either mode."""
        if _form(outputs) == self._form:
            return self._loss(outputs, targets)
        if not self._names:
            try:
                return self._loss(outputs, targets)
            except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
                self._names = training_names(self._model, self._example)
                if self._names.keys() != named_tensors(self._like).keys():
                    raise
        found = named_tensors(outputs)
        kept = {name: found[other] for name, other in self._names.items()}
        return self._loss(rebuild(self._like, kept), targets)


def _form(outputs: Any) -> tuple[type, tuple[str, ...]]:
    return type(outputs), tuple(named_tensors(outputs))
