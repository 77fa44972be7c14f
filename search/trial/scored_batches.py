"""The outputs and targets of all batches: batch by batch, together, or those of some examples."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from search.errors import MeasurementError
from search.trial.joined_outputs import JoinedOutputs, differ_in_length, padded
from search.trial.whole_set import NO_VALUE

IGNORED = -100
"""The label of padding, which `torch.nn.functional.cross_entropy` leaves out by default."""
SAME = 1e-4
"""Relative difference of two scores that comes from rounding alone."""


class ScoredBatches:
    """Outputs and targets, which are joined only if that is asked for.

    Where batches differ in length (texts of `[B, T]` tokens), all are padded at the end to the
    longest: outputs with 0, labels with `IGNORED`, masks of booleans with False.
    """

    def __init__(
        self, outputs: Sequence[Any], targets: Sequence[Any], sizes: Sequence[int]
    ) -> None:
        """Join nothing yet.

        Args:
            outputs: Outputs for each batch, of one structure.
            targets: Targets for each batch: tensors `[B, ...]` in any structure, lists or None.
            sizes: Examples of each batch.
        """
        self._outputs, self._targets, self._sizes = outputs, targets, sizes
        self.count = sum(sizes)

    def each(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield the outputs, the targets and the number of examples of each batch."""
        return zip(self._outputs, self._targets, self._sizes, strict=True)

    @cached_property
    def differ_in_length(self) -> bool:
        """Whether batches cannot be joined without padding."""
        return self._joined_outputs.differ_in_length or _differ(self._targets)

    def all(self) -> tuple[Any, Any]:
        """Return the outputs and targets of all examples.

        Raises:
            MeasurementError: Targets cannot be joined.
        """
        return self._joined_outputs.all(), self._joined_targets

    def take(self, rows: Tensor) -> tuple[Any, Any]:
        """Return the outputs and targets of the examples with these numbers `[M]`."""
        return self._joined_outputs.take(rows), _picked(self._joined_targets, rows)

    def check_padding(self, score: Callable[[Any, Any], Any], name: str) -> None:
        """Check that padding a batch leaves its score as it is.

        Args:
            score: From outputs and targets to one number.
            name: The score's name, for messages.

        Raises:
            MeasurementError: It does not, or the score has a value on no batch alone.
        """
        compared, start = 0, 0
        for outputs, targets, size in self.each():
            alone = _number(score, outputs, targets)
            among = _number(score, *self.take(torch.arange(start, start + size)))
            start, compared = start + size, compared + math.isfinite(alone)
            if math.isfinite(alone) and not math.isclose(alone, among, rel_tol=SAME, abs_tol=1e-7):
                raise _counts_padding(name, f"changes from {alone:g} to {among:g} by it on a batch")
        if not compared:
            raise _counts_padding(name, "has no value on a batch alone, to see that it does not")

    @cached_property
    def _joined_outputs(self) -> JoinedOutputs:
        return JoinedOutputs(self._outputs, self._sizes)

    @cached_property
    def _joined_targets(self) -> Any:
        return _joined(self._targets)


def _number(score: Callable[[Any, Any], Any], outputs: Any, targets: Any) -> float:
    """Return a score, nan where it is not defined."""
    try:
        return float(score(outputs, targets))
    except NO_VALUE:
        return math.nan


def _counts_padding(name: str, found: str) -> MeasurementError:
    return MeasurementError(
        f"batches differ in length, and score '{name}' is one number for all examples, so that "
        f"outputs are padded with 0 and labels with {IGNORED} to the longest; the score must not "
        f"count padding, but {found}: leave out labels of {IGNORED} in it, or return one value "
        "for each example"
    )


def _differ(targets: Sequence[Any]) -> bool:
    first = targets[0]
    if isinstance(first, Tensor):
        return differ_in_length(targets, 0)
    if isinstance(first, Mapping):
        return any(_differ([target[name] for target in targets]) for name in first)
    if isinstance(first, tuple):
        return any(_differ(parts) for parts in zip(*targets, strict=True))
    return False


def _joined(targets: Sequence[Any]) -> Any:
    """Return the targets of all batches as one batch of the same structure."""
    first = targets[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(padded(targets, 0, _padding(first)) if _differ(targets) else list(targets))
    if isinstance(first, Mapping):
        return {name: _joined([target[name] for target in targets]) for name in first}
    if isinstance(first, tuple):
        return tuple(_joined(parts) for parts in zip(*targets, strict=True))
    if isinstance(first, list):
        return [item for target in targets for item in target]
    raise MeasurementError(f"targets must be tensors, tuples, mappings or lists, got {type(first)}")


def _padding(targets: Tensor) -> int:
    """Return the value that pads targets of this type.

    Raises:
        MeasurementError: There is none that means no target.
    """
    if targets.dtype == torch.bool:
        return False
    if targets.dtype in (torch.int64, torch.int32, torch.int16, torch.int8):
        return IGNORED
    raise MeasurementError(
        f"targets of type {str(targets.dtype).removeprefix('torch.')} differ in length between "
        "batches and cannot be padded for a score that is one number for all examples; let the "
        "score return one value for each example, or pad all batches to one length"
    )


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
