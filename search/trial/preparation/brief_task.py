"""A task with few training data, on which steps are tried before a study begins."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs
from compressors.models.calibration import batch_size
from compressors.outputs.spec import OutputSpec
from search.tasks.task import EvaluatedTask
from search.utils.array_cache import Arrays

BRIEF_SAMPLES = 64
"""Training samples of an epoch; the batch that reaches them is whole."""


@dataclass(kw_only=True)
class BriefTask:
    """A `compressors.base.Task` whose epochs end after the first batches.

    Whether a step can act on a model does not depend on how many data it sees. What is remembered
    for later trials is measured on all data.
    """

    task: EvaluatedTask
    _measuring: bool = field(default=False, init=False)

    @property
    def baseline(self) -> nn.Module:
        """The task's trained model."""
        return self.task.baseline

    @property
    def example(self) -> Inputs:
        """The task's batch of inputs `[B, ...]`."""
        return self.task.example

    @property
    def outputs(self) -> OutputSpec:
        """What the baseline's outputs are."""
        return self.task.outputs

    def train_batches(self, epoch: int) -> Iterator[tuple[Inputs, Any]]:
        """Yield the first batches of an epoch, inputs `[B, ...]` and targets."""
        return self._brief(self.task.train_batches(epoch))

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Inputs, Any, Tensor]]:
        """Yield the first batches of an epoch with the baseline's outputs `[B, ...]`."""
        return self._brief(self.task.teacher_batches(epoch))

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the task's loss of a batch, a scalar `[]`."""
        return self.task.loss(outputs, targets)

    def measured(self, key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
        """Return the arrays of `measure`, for which epochs are whole, remembered by the task."""

        def on_all_data() -> Mapping[str, NDArray[Any]]:
            before, self._measuring = self._measuring, True
            try:
                return measure()
            finally:
                self._measuring = before

        return self.task.measured(key, on_all_data)

    def _brief(self, batches: Iterator[Any]) -> Iterator[Any]:
        seen = 0
        for batch in batches:
            yield batch
            seen += batch_size(batch[0])
            if seen >= BRIEF_SAMPLES and not self._measuring:
                return
