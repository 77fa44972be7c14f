"""Score the outputs of a reloaded artefact, with a standard error."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from compressors.base import Inputs
from search.errors import MeasurementError

RESAMPLES = 200
"""Bootstrap resamples for the standard error of a score that is one figure."""


class ScoredTask(Protocol):
    """What `evaluate` needs of a task."""

    @property
    def maximize(self) -> bool:
        """True when a higher score is better."""
        ...

    @property
    def loss(self) -> Callable[[Any, Any], Tensor]:
        """Of outputs and targets: the mean loss of a batch."""
        ...

    @property
    def score(self) -> Callable[[Any, Any], Tensor | float]:
        """Of outputs and targets: a value per example `[N]`, or one figure."""
        ...


@dataclass(frozen=True, kw_only=True)
class Score:
    """What the task says of a model's outputs."""

    value: float
    standard_error: float
    """Of `value`, for examples drawn anew: one standard deviation."""
    nll: float
    """The task's loss, averaged over examples; the negative log-likelihood for cross-entropy."""
    maximize: bool

    def figures(self) -> dict[str, float]:
        """Return the figures under the names they have among a trial's metrics."""
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

    Raises:
        MeasurementError: there are fewer than two examples, or a figure is not finite.
    """
    outputs, targets = [], []
    with torch.no_grad():
        for inputs, target in batches:
            outputs.append(torch.as_tensor(predict(inputs)))
            targets.append(target)
        count = sum(map(len, outputs))
        if count < 2:
            raise MeasurementError(f"a score needs at least 2 examples, got {count}")
        losses = [float(task.loss(o, t)) * len(o) for o, t in zip(outputs, targets, strict=True)]
        value, error = _value_and_error(torch.cat(outputs), _joined(targets), task)
    score = {"score": value, "score_standard_error": error, "nll": sum(losses) / count}
    for name, figure in score.items():
        if not math.isfinite(figure):
            raise MeasurementError(f"{name} is {figure}, not a finite number")
    return Score(value=value, standard_error=error, nll=score["nll"], maximize=task.maximize)


def _value_and_error(outputs: Tensor, targets: Any, task: ScoredTask) -> tuple[float, float]:
    scored = task.score(outputs, targets)
    if isinstance(scored, Tensor) and scored.ndim > 0:
        if scored.shape != (len(outputs),):
            shape = tuple(scored.shape)
            raise MeasurementError(f"score gives {shape} for {len(outputs)} examples")
        values = scored.double()
        return float(values.mean()), float(values.std() / math.sqrt(len(values)))
    generator = torch.Generator().manual_seed(0)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = torch.randint(len(outputs), (len(outputs),), generator=generator)
        resampled.append(float(task.score(outputs[drawn], _picked(targets, drawn))))
    return float(scored), float(torch.tensor(resampled, dtype=torch.float64).std())


def _joined(targets: list[Any]) -> Any:
    """Return the targets of all batches as one batch, in the form of each."""
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
