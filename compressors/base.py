"""What a compressor is, and all that it may know of a task."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.kinds import CompressorKind

Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""One batch of model inputs: one tensor `[B, ...]`, positional tensors, or named tensors."""


class Task(Protocol):
    """All that a compressor may know: the trained model, training data and the loss."""

    @property
    def baseline(self) -> nn.Module:
        """The trained model, in eval mode and frozen; it is also the teacher."""
        ...

    @property
    def example(self) -> Inputs:
        """One batch of inputs, batch size at least 2."""
        ...

    def train_batches(self, epoch: int) -> Iterable[tuple[Inputs, Any]]:
        """Yield `(inputs, targets)`; the same epoch always yields the same batches in order."""
        ...

    def teacher_batches(self, epoch: int) -> Iterable[tuple[Inputs, Any, Tensor]]:
        """Yield `(inputs, targets, outputs of the baseline)` for the batches of an epoch."""
        ...

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the mean training loss of one batch, a scalar."""
        ...

    def measured(
        self, key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> Mapping[str, NDArray[Any]]:
        """Return what `measure` returns, remembered under a key for this baseline and data.

        The key names all else that the result depends on: what is measured with which values, and
        the content of the model it is measured on if that is not the baseline.
        """
        ...


class Compressor(Protocol):
    """One method with its values: a frozen dataclass, named by `_target_` in conf/compressor/.

    Built with no arguments it is inactive. Called, it returns a new model and leaves the one it
    was given unchanged; randomness comes from torch's global generator, which the caller seeds.
    """

    kind: ClassVar[CompressorKind]

    @property
    def active(self) -> bool:
        """False when these values leave every model as it is."""
        ...

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return the compressed model; raise `InfeasibleError` if there is nothing to act on."""
        ...


@runtime_checkable
class Selective(Protocol):
    """A compressor that acts on some parts of a model and can say which it leaves, and why."""

    def skipped_layers(self, model: nn.Module, task: Task) -> dict[str, str]:
        """Return by the name of a layer why it stays as it is, whatever the values."""
        ...


def run(model: nn.Module, inputs: Inputs) -> Any:
    """Call a model on one batch, whichever of the three forms the inputs have."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs)


def output_tensors(outputs: object) -> list[Tensor]:
    """Return the tensors `[B, ...]` of a model's outputs, whatever structure holds them, in order.

    Args:
        outputs: A tensor, or tuples, lists and dicts of outputs; anything else counts as empty.
    """
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        return [tensor for item in outputs for tensor in output_tensors(item)]
    return []


def check_range(name: str, value: float, low: float, high: float, *, closed: bool = True) -> None:
    """Raise `ValueError`, naming value and range, unless `low <= value <= high`.

    With `closed=False` the upper end itself is not allowed.
    """
    if not (low <= value <= high and (closed or value < high)):
        bracket = "]" if closed else ")"
        raise ValueError(f"{name} must be in [{low:g}, {high:g}{bracket}, got {value!r}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise `ValueError`, naming value and choices, unless the value is one of the choices."""
    allowed = list(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
