"""Score the outputs of a reloaded artefact, with a standard error."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from compressors.base import Inputs
from compressors.models.calibration import batch_size
from search.errors import MeasurementError
from search.trial.joined_outputs import JoinedOutputs
from search.trial.whole_set import (
    StandardError,
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

    Args:
        predict: From inputs `[B, ...]` to outputs of any structure, or one array.
        batches: Batches of inputs and targets.
        task: Gives the score, the loss and the direction.

    Raises:
        MeasurementError: There are fewer than two examples, or a value is not finite.
    """
    outputs, targets, sizes = [], [], []
    with torch.no_grad():
        for inputs, target in batches:
            predicted = predict(inputs)
            array = isinstance(predicted, np.ndarray)
            outputs.append(torch.from_numpy(predicted) if array else predicted)
            targets.append(target)
            sizes.append(batch_size(inputs))
        count = sum(sizes)
        if count < 2:
            raise MeasurementError(f"a score needs at least 2 examples, got {count}")
        parts = zip(outputs, targets, sizes, strict=True)
        losses = [_mean_loss(task.loss(o, t)) * size for o, t, size in parts]
        value, error, samples = _judged(
            JoinedOutputs(outputs, sizes), _joined(targets), count, task
        )
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


def _judged(
    outputs: JoinedOutputs, targets: Any, count: int, task: ScoredTask
) -> tuple[float, StandardError, Tensor | None]:
    """Return the score of all examples, its standard error, and the score of each `[N]`."""
    score, name = score_function(task.score), score_name(task.score)
    values = _numbers(score(outputs.all(), targets), name)
    if values.numel() == 1 and (values.ndim == 0 or count != 1):
        if not math.isfinite(float(values)):
            raise MeasurementError(f"score is {float(values)}, not a finite number")
        error = whole_standard_error(
            score, lambda rows: (outputs.take(rows), _picked(targets, rows)), count, name
        )
        return float(values), error, None
    if values.shape[:1] != (count,):
        shape = tuple(values.shape)
        raise MeasurementError(f"score gives {shape} for {count} examples")
    values = values.reshape(count, -1).mean(1)
    error = StandardError(value=float(values.std() / math.sqrt(len(values))), note="")
    return float(values.mean()), error, values


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


def _joined(targets: list[Any]) -> Any:
    """Return the targets of all batches as one batch of the same structure."""
    first = targets[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(targets)
    if isinstance(first, Mapping):
        return {name: _joined([target[name] for target in targets]) for name in first}
    if isinstance(first, tuple):
        return tuple(_joined(list(parts)) for parts in zip(*targets, strict=True))
    if isinstance(first, list):
        return [item for target in targets for item in target]
    raise MeasurementError(f"targets must be tensors, tuples, mappings or lists, got {type(first)}")


def _picked(targets: Any, chosen: Tensor) -> Any:
    if targets is None:
        return None
    if isinstance(targets, Tensor):
        return targets[chosen]
    if isinstance(targets, Mapping):
        return {name: _picked(part, chosen) for name, part in targets.items()}
    if isinstance(targets, tuple):
        return tuple(_picked(part, chosen) for part in targets)
    return [targets[index] for index in chosen.tolist()]
