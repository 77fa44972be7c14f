"""What the user owns: a trained model, data, a loss and a score, as the search sees them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs
from compressors.models.calibration import calibration_batches, device_of, to_device
from compressors.models.fingerprint import output_digest
from compressors.outputs.spec import OutputSpec, StatedOutputs
from search.tasks.batches import Batch, batch_checksum
from search.tasks.free_axes import FreeAxes, free_axes, observed_shapes
from search.tasks.output_intake import output_spec
from search.tasks.teacher_outputs import TeacherOutputs
from search.tasks.training_batches import TrainingBatches
from search.utils.array_cache import ArrayCache, Arrays
from search.utils.provenance import methods_digest

COMPARED_BATCHES = 64
"""Training batches whose shapes are compared, beside all validation batches."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedTask:
    """A task with its held-out data, which no compressor can reach.

    `load_task` builds it from the parts that the user gives. It is a `compressors.base.Task`.
    """

    baseline: nn.Module
    """The trained model, in eval mode and frozen."""
    example: Inputs
    """One batch of inputs, on the CPU whatever the device of the model."""
    train: TrainingBatches
    validation: Iterable[Batch]
    """The data that the search scores models on."""
    test: Iterable[Batch]
    """The data that only models of the final front are scored on."""
    loss: Callable[[Any, Any], Tensor]
    """From outputs and targets to the mean loss, a scalar."""
    score: Callable[[Any, Any], Tensor | float]
    """From outputs and targets to a value per example `[N]`, or one value for all of them."""
    maximize: bool
    """Whether a higher score is better."""
    stated: StatedOutputs
    """What the user says about the outputs."""
    outputs_like: Any
    """Outputs of the baseline in eval mode, for their structure."""
    train_step: Callable[[nn.Module, Any], Any] | None = None
    """From a model in training and a batch as the loader yields it to the loss, or to the loss and
    the model's outputs; None for the loss of the outputs."""
    notes: tuple[str, ...] = ()
    """What was changed in the user's model and inputs, one clause each."""
    cache: ArrayCache
    """The teacher's outputs and measurements, shared by all studies of this machine."""
    card: Mapping[str, str] = field(default_factory=dict)
    """What the model card of an export says: `metric`, the score's name; `preprocessing` of the
    inputs; `license` of the model. Empty where the user says nothing."""
    declared_axes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """By the name of an input, axes that are free even if all batches have one size."""

    @cached_property
    def outputs(self) -> OutputSpec:
        """What the outputs are: as the user says, the rest from the first training batch.

        Raises:
            ConfigError: there is no batch, or the loss or what the user says does not fit.
        """
        return output_spec(self.baseline, self.train.first(), self.loss, self.stated)

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """Yield `(inputs, targets)`; the same epoch yields the same batches in the same order."""
        return self.train.of_epoch(epoch)

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Inputs, Any, Tensor]]:
        """Yield `(inputs, targets, distilled output)`, computed once and kept on disk.

        Inputs are `[B, ...]`, the baseline's distilled output is of any shape.

        Raises:
            RuntimeError: The epoch's batches differ from those that the outputs belong to.
        """
        return TeacherOutputs(
            teacher=self.baseline,
            spec=self.outputs,
            batches=self.train_batches,
            cache=self.cache,
            identity=lambda: f"{self.train.length} {self._baseline_digest}",
        ).of_epoch(epoch)

    def measured(self, key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
        """Return the arrays of `measure`, remembered on disk for this baseline and these data.

        The data are known by the batches of `calibration_batches`. Another version of torch or of
        the compressors' code measures anew.

        Args:
            key: Names everything else that the result depends on.
            measure: Returns named arrays of any shapes.
        """
        known = f"{methods_digest()} {self.data_digest} {self._baseline_digest}"
        return self.cache.get(f"measured {key} {known}", measure)

    @cached_property
    def free_axes(self) -> FreeAxes:
        """The axes of the inputs whose size differs between batches, and those declared.

        All validation batches and the first training batches are compared, whenever a task is
        built: what they are is known only by reading them. A study keeps the axes of its baseline.

        Raises:
            ConfigError: The batches differ in their inputs or in their numbers of axes.
        """

        def batches() -> Iterator[Inputs]:
            yield self.example
            for inputs, _ in islice(self.train_batches(0), COMPARED_BATCHES):
                yield inputs
            for inputs, _ in self.validation:
                yield inputs

        return free_axes(observed_shapes(batches()), self.declared_axes)

    @cached_property
    def data_digest(self) -> str:
        """A digest of the first training batches and, where it is known, of their number."""
        digest = sha256(self.train.length.encode())
        for inputs in calibration_batches(self, torch.device("cpu")):
            digest.update(str(batch_checksum(inputs)).encode())
        return digest.hexdigest()

    @cached_property
    def _baseline_digest(self) -> str:
        inputs, _ = self.train.first()
        there = to_device(inputs, device_of(self.baseline))
        return f"{torch.__version__} {output_digest(self.baseline, there)}"
