"""Score the outputs of a reloaded artefact, with a standard error."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from compressors.base import Inputs
from compressors.models.calibration import batch_size
from search.errors import MeasurementError
from search.trial.joined_outputs import JoinedOutputs

RESAMPLES = 200
"""Bootstrap resamples for the standard error of a score that is one number for all examples."""


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
        """From outputs `[N, ...]` and targets to a value per example `[N]`, or one number."""
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
    else that of a bootstrap over examples (Efron, 1979) with a fixed seed.

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
        losses = [float(task.loss(o, t)) * size for o, t, size in parts]
        joined = JoinedOutputs(outputs, sizes)
        value, error = _value_and_error(joined, _joined(targets), count, task)
    nll = sum(losses) / count
    score = Score(value=value, standard_error=error, nll=nll, maximize=task.maximize)
    for name, metric in score.metrics().items():
        if not math.isfinite(metric):
            raise MeasurementError(f"{name} is {metric}, not a finite number")
    return score


def _value_and_error(
    outputs: JoinedOutputs, targets: Any, count: int, task: ScoredTask
) -> tuple[float, float]:
    scored = task.score(outputs.all(), targets)
    if isinstance(scored, Tensor) and scored.ndim > 0:
        if scored.shape != (count,):
            shape = tuple(scored.shape)
            raise MeasurementError(f"score gives {shape} for {count} examples")
        values = scored.double()
        return float(values.mean()), float(values.std() / math.sqrt(len(values)))
    generator = torch.Generator().manual_seed(0)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = torch.randint(count, (count,), generator=generator)
        resampled.append(float(task.score(outputs.take(drawn), _picked(targets, drawn))))
    return float(scored), float(torch.tensor(resampled, dtype=torch.float64).std())


def _joined(targets: list[Any]) -> Any:
    """Return the targets of all batches as one batch of the same structure."""
    first = targets[0]
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
    if isinstance(targets, Tensor):
        return targets[chosen]
    if isinstance(targets, Mapping):
        return {name: _picked(part, chosen) for name, part in targets.items()}
    if isinstance(targets, tuple):
        return tuple(_picked(part, chosen) for part in targets)
    return [targets[index] for index in chosen.tolist()]
