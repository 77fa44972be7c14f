"""The contract of a compressor, and of the task as far as a compressor may know it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.kinds import CompressorKind
from compressors.outputs.spec import OutputSpec
from compressors.outputs.structure import named_tensors

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
        """One batch of inputs `[B, ...]`, B at least 2."""
        ...

    @property
    def outputs(self) -> OutputSpec:
        """What the model's outputs are, and which of them is distilled."""
        ...

    def train_batches(self, epoch: int) -> Iterable[tuple[Inputs, Any]]:
        """Yield inputs `[B, ...]` and targets; an epoch always has the same batches in order."""
        ...

    def teacher_batches(self, epoch: int) -> Iterable[tuple[Inputs, Any, Tensor]]:
        """Yield the batches of an epoch with the baseline's distilled output as third item."""
        ...

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the mean training loss of one batch, a scalar `[]`."""
        ...

    def measured(
        self, key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> Mapping[str, NDArray[Any]]:
        """Return the arrays that `measure` returns, cached under a key for this baseline and data.

        Args:
            key: Names everything else that the result depends on: the measurement and its values,
                and the content of the measured model if that is not the baseline.
            measure: Called without arguments if nothing is cached; returns arrays of any shape.
        """
        ...


class Compressor(Protocol):
    """One method with its values: a frozen dataclass, named by `_target_` in conf/compressor/.

    Built with no arguments it is inactive. A call returns a new model and leaves the given one
    unchanged; randomness comes from torch's global generator, which the caller seeds.
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
    """A compressor that acts on some layers of a model and can say which it skips, and why."""

    def skipped_layers(self, model: nn.Module, task: Task) -> dict[str, str]:
        """Return by the name of a layer why it stays as it is, with any values."""
        ...


def own_step(task: Task) -> Callable[[nn.Module, Any], Any] | None:
    """Return the task's own step of training, its `train_step`; None for a task without one.

    The step takes a model in training mode and a batch as the loader yields it, which is the
    `batch` of the task's targets. It returns the mean loss, a scalar, or that and the outputs.
    """
    step: Callable[[nn.Module, Any], Any] | None = getattr(task, "train_step", None)
    return step


def run(model: nn.Module, inputs: Inputs) -> Any:
    """Return a model's outputs on one batch of inputs `[B, ...]`, in any of the three forms."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs)


def output_tensors(outputs: object) -> list[Tensor]:
    """Return the tensors, of any shape, in a model's outputs of any structure, in order."""
    return list(named_tensors(outputs).values())


def check_range(name: str, value: float, low: float, high: float, *, closed: bool = True) -> None:
    """Raise `ValueError` unless `low <= value <= high` and the value is finite.

    Args:
        name: Name of the value in the message.
        value: The value to check.
        low: The least value that is allowed.
        high: The upper end of the range.
        closed: The upper end itself is allowed, unless it is infinite.
    """
    closed = closed and high < float("inf")
    if not (low <= value <= high and (closed or value < high)):
        bracket = "]" if closed else ")"
        raise ValueError(f"{name} must be in [{low:g}, {high:g}{bracket}, got {value!r}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise `ValueError` unless a value, called `name` in the message, is one of the choices."""
    allowed = list(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
