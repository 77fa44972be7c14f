"""Score the outputs of a reloaded artefact, with a standard error."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from compressors.base import Inputs
from compressors.models.calibration import batch_size
from search.errors import MeasurementError
from search.trial.scored_batches import ScoredBatches
from search.trial.whole_set import (
    NO_VALUE,
    StandardError,
    WholeScore,
    score_function,
    score_name,
    whole_standard_error,
)


class ScoredTask(Protocol):
    """What `evaluate` needs of a task."""

    @property
    def maximize(self) -> bool:
        """True when a higher score is better."""
        ...

    @property
    def loss(self) -> Callable[[Any, Any], Tensor]:
        """From outputs `[B, ...]` and targets to the mean loss of a batch."""
        ...

    @property
    def score(self) -> Callable[[Any, Any], Tensor | float]:
        """From outputs `[N, ...]` and targets to values per example `[N, ...]`, or one number; or
        an object with `update(outputs, targets)` and `compute()`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Score:
    """The task's judgement of a model's outputs."""

    value: float
    standard_error: float
    """Standard deviation of `value` over other draws of as many examples."""
    nll: float
    """The task's loss, averaged over examples; the negative log-likelihood for cross-entropy."""
    maximize: bool
    """Whether a higher value is better."""
    note: str = ""
    """How the standard error was found, where the score has no value on some resamples."""
    samples: Tensor | None = field(default=None, compare=False, repr=False)
    """The score of each example `[N]`; None where the task gives one number for all."""

    def metrics(self) -> dict[str, float]:
        """Return the values under their names among a trial's metrics."""
        return {
            "score": self.value,
            "score_standard_error": self.standard_error,
            "nll": self.nll,
        }


def evaluate(
    predict: Callable[[Inputs], Any],
    batches: Iterable[tuple[Inputs, Any]],
    task: ScoredTask,
) -> Score:
    """Score the outputs for all batches together.

    The standard error is the sample deviation over `sqrt(N)` where the task scores each example,
    else that of `whole_standard_error`. Several values for an example count as their mean.

    Where batches differ in length, a score with a value for each example is computed batch by
    batch; for one number all are padded to the longest, as `ScoredBatches` says, and a score that
    counts the padding is refused.

    Args:
        predict: From inputs `[B, ...]` to outputs of any structure, or one array.
        batches: Batches of inputs and targets.
        task: Gives the score, the loss and the direction.

    Raises:
        MeasurementError: There are fewer than two examples, a value is not finite, or batches of
            different lengths cannot be joined.
    """
    outputs, targets, sizes = [], [], []
    with torch.no_grad():
        for inputs, target in batches:
            predicted = predict(inputs)
            array = isinstance(predicted, np.ndarray)
            outputs.append(torch.from_numpy(predicted) if array else predicted)
            targets.append(target)
            sizes.append(batch_size(inputs))
        judged = ScoredBatches(outputs, targets, sizes)
        count = judged.count
        if count < 2:
            raise MeasurementError(f"a score needs at least 2 examples, got {count}")
        losses = [_mean_loss(task.loss(o, t)) * size for o, t, size in judged.each()]
        value, error, samples = _judged(judged, task)
    score = Score(
        value=value,
        standard_error=error.value,
        nll=sum(losses) / count,
        maximize=task.maximize,
        note=error.note,
        samples=samples,
    )
    for name, metric in score.metrics().items():
        if not math.isfinite(metric):
            raise MeasurementError(f"{name} is {metric}, not a finite number")
    return score


def _judged(batches: ScoredBatches, task: ScoredTask) -> tuple[float, StandardError, Tensor | None]:
    """Return the score of all examples, its standard error, and the score of each `[N]`."""
    score, name, count = score_function(task.score), score_name(task.score), batches.count
    alone = _values_by_batch(batches, score) if batches.differ_in_length else None
    if alone is None and batches.differ_in_length:
        batches.check_padding(score, name)
    values = _numbers(score(*batches.all()), name) if alone is None else alone
    if values.numel() == 1 and (values.ndim == 0 or count != 1):
        if not math.isfinite(float(values)):
            raise MeasurementError(f"score is {float(values)}, not a finite number")
        return float(values), whole_standard_error(score, batches.take, count, name), None
    if values.shape[:1] != (count,):
        shape = tuple(values.shape)
        raise MeasurementError(f"score gives {shape} for {count} examples")
    values = values.reshape(count, -1).mean(1)
    error = StandardError(value=float(values.std() / math.sqrt(len(values))), note="")
    return float(values.mean()), error, values


def _values_by_batch(batches: ScoredBatches, score: WholeScore) -> Tensor | None:
    """Return the values `[N]` of a score that has one for each example, from batches alone.

    None for a score that is one number for all examples.
    """
    found = []
    for outputs, targets, size in batches.each():
        try:
            values = torch.as_tensor(score(outputs, targets)).double()
        except NO_VALUE:  # not defined on these examples, but maybe on all
            return None
        if values.shape[:1] != (size,):
            return None
        found.append(values.reshape(size, -1).mean(1))
    return torch.cat(found)


def _numbers(scored: Any, name: str) -> Tensor:
    """Return what a score gives as a tensor of doubles, of any shape.

    Raises:
        MeasurementError: It is no number and no array of numbers.
    """
    try:
        return torch.as_tensor(scored).double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise MeasurementError(
            f"score '{name}' gives a {type(scored).__name__}; it must be one number, or one for "
            "each example"
        ) from error


def _mean_loss(loss: Any) -> float:
    """Return the loss of a batch as a number.

    Raises:
        MeasurementError: It is not one number.
    """
    if isinstance(loss, Tensor) and loss.numel() != 1:
        raise MeasurementError(
            f"the loss gives {tuple(loss.shape)}; it must be one number, the mean over the batch: "
            "call .mean() or set reduction='mean'"
        )
    return float(loss)
