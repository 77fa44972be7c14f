"""Scores that are one number for all examples: their value, and its standard error."""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from search.errors import MeasurementError

RESAMPLES = 200
"""Bootstrap resamples, and blocks of the jackknife at most."""
MIN_RESAMPLES = 100
"""Resamples that must have a value for the bootstrap to count."""
NO_VALUE = (ValueError, ArithmeticError, LookupError, RuntimeError)
"""What metrics raise on examples for which they are not defined, such as those of one class."""

WholeScore = Callable[[Any, Any], Any]
Pick = Callable[[Tensor], tuple[Any, Any]]
"""From rows `[M]` to the outputs and targets of these examples."""


@dataclass(frozen=True, kw_only=True)
class StandardError:
    """The standard error of a score, and how it was found."""

    value: float
    note: str
    """Empty if every bootstrap resample had a value."""


def score_function(score: Any) -> WholeScore:
    """Return a score as a function of outputs and targets.

    An object with `update(outputs, targets)` and `compute()`, such as a metric of torchmetrics, is
    copied for every computation, and `reset()` if it can be.
    """
    if not (hasattr(score, "update") and hasattr(score, "compute")):
        return score  # type: ignore[no-any-return]

    def computed(outputs: Any, targets: Any) -> Any:
        metric = deepcopy(score)
        if hasattr(metric, "reset"):
            metric.reset()
        metric.update(outputs, targets)
        return metric.compute()

    return computed


def score_name(score: Any) -> str:
    """Return the name of a score for messages."""
    return getattr(score, "__name__", type(score).__name__)


def whole_standard_error(score: WholeScore, pick: Pick, count: int, name: str) -> StandardError:
    """Return the standard error of a score that is one number for all examples.

    It is the deviation over bootstrap resamples (Efron, 1979) with a fixed seed. Resamples on which
    the score has no value are left out. Where fewer than `MIN_RESAMPLES` have one, the jackknife
    that leaves out one block of examples in turn takes the bootstrap's place (Efron and Stein,
    1981).

    Args:
        score: From outputs `[M, ...]` and targets to one number.
        pick: Gives the outputs and targets of some of the examples.
        count: Number of examples.
        name: The score's name, for messages.

    Raises:
        MeasurementError: The score has no value on some examples without one block either.
    """
    values = [value for value in _resampled(score, pick, count) if math.isfinite(value)]
    missing = RESAMPLES - len(values)
    if len(values) >= MIN_RESAMPLES:
        note = f"score '{name}' has no value on {missing} of {RESAMPLES} resamples, left out of its"
        deviation = float(torch.tensor(values, dtype=torch.float64).std())
        return StandardError(value=deviation, note=f"{note} standard error" if missing else "")
    blocks = torch.arange(count).tensor_split(min(count, RESAMPLES))
    everything = torch.arange(count)
    left = [_value(score, *pick(everything[~torch.isin(everything, b)])) for b in blocks]
    if not all(map(math.isfinite, left)):
        raise MeasurementError(
            f"score '{name}' has no value on {missing} of {RESAMPLES} resamples of the {count} "
            "examples, so that it has no standard error; give more examples of the rare class, or "
            "a score that is defined without them"
        )
    spread = torch.tensor(left, dtype=torch.float64)
    scale = (len(blocks) - 1) / len(blocks)
    return StandardError(
        value=float((scale * (spread - spread.mean()).square().sum()).sqrt()),
        note=f"score '{name}' has no value on {missing} of {RESAMPLES} resamples; its standard "
        f"error is that of a jackknife over {len(blocks)} blocks",
    )


def _resampled(score: WholeScore, pick: Pick, count: int) -> Iterator[float]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(RESAMPLES):
        yield _value(score, *pick(torch.randint(count, (count,), generator=generator)))


def _value(score: WholeScore, outputs: Any, targets: Any) -> float:
    """Return a score, nan where it is not defined; on all examples it was, so it is no fault."""
    try:
        return float(score(outputs, targets))
    except NO_VALUE:
        return math.nan
