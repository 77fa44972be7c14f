"""A tiny random model of an architecture, and a task that it is compressed for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, output_tensors, run
from compressors.models.batch_norm import reestimate_batch_norm, training_norms
from compressors.models.calibration import batch_size
from compressors.models.plain import plain_model
from compressors.testing.data import take


@dataclass(frozen=True)
class Architecture:
    """How a tiny model is built, and the inputs that it takes."""

    build: Callable[[], nn.Module]
    """Makes the model; torch's generator is seeded when it is called."""
    inputs: Callable[[], Inputs]
    """Makes inputs `[B, ...]`; torch's generator is seeded when it is called."""

    def task(self) -> "ArchitectureTask":
        """Return a task with this model as the baseline, made plain as a study does."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, inputs = self.build(), self.inputs()
            _spread(model)
            reestimate_batch_norm(model, [inputs], training_norms(model))
            return ArchitectureTask(plain_model(model.eval(), inputs).model, inputs)


class ArchitectureTask:
    """Values near the baseline's first floating-point output are to be learned."""

    def __init__(self, baseline: nn.Module, inputs: Inputs) -> None:
        self.baseline = baseline
        self.inputs = inputs
        self.example = take(inputs, slice(2))
        with torch.no_grad():
            self.outputs = run(baseline, inputs)
        known = _first(self.outputs)
        self.targets = known + 0.1 * torch.randn_like(known)

    def train_batches(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield half of the samples twice."""
        middle = batch_size(self.inputs) // 2
        for half in (slice(middle), slice(middle, None)):
            yield take(self.inputs, half), self.targets[half]

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Inputs, Tensor, Tensor]]:
        """Yield the same batches with the baseline's first output."""
        for inputs, targets in self.train_batches(epoch):
            with torch.no_grad():
                taught = _first(run(self.baseline, inputs))
            yield inputs, targets, taught

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """Return the mean squared error of the first output, a scalar."""
        return F.mse_loss(_first(outputs), targets)

    def measured(
        self, key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> Mapping[str, NDArray[Any]]:
        """Return what `measure` returns; nothing is remembered."""
        return measure()


def _first(outputs: Any) -> Tensor:
    return next(t for t in output_tensors(outputs) if t.is_floating_point())


def _spread(model: nn.Module) -> None:
    """Draw parameters as wide as trained ones: at the library's 0.02 every block is idle."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            else:
                parameter += 0.1 * torch.randn_like(parameter)
