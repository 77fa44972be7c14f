"""What training and writing cost, measured on the baseline."""

import torch
from torch import Tensor, nn

from compressors.base import Task, own_step
from compressors.distillation import steps_per_epoch
from compressors.models.calibration import device_of, to_device
from compressors.training.precision import seconds_by_precision, seconds_of_a_step
from search.proposal.costs import Costs

SHORT = 0.02
"""Seconds of a step of training below which noise would choose, and there is little to gain."""
CLEARLY = 1.2
"""Factor by which bfloat16 must be faster than float32 to be chosen, so that noise does not."""


def measure_costs(task: Task, file_seconds: float) -> Costs:
    """Time steps of training on the first batch, in both precisions if the task has no own step.

    Args:
        task: Gives the baseline and the data.
        file_seconds: What it took to build the task, to write the baseline and to measure it.
    """
    steps = _step_seconds(task)
    floats, low = steps[torch.float32], steps.get(torch.bfloat16, float("inf"))
    fastest = torch.bfloat16 if floats > SHORT and low * CLEARLY < floats else torch.float32
    return Costs(
        epoch=steps[fastest] * steps_per_epoch(task),
        file=file_seconds,
        precision=str(fastest).removeprefix("torch."),
    )


def _step_seconds(task: Task) -> dict[torch.dtype, float]:
    """Return the seconds of a step of training by precision."""
    inputs, targets = next(iter(task.train_batches(0)))
    own = own_step(task)
    if own is None:
        there = to_device(targets, device_of(task.baseline))
        return seconds_by_precision(task.baseline, inputs, lambda found: task.loss(found, there))

    def loss(model: nn.Module) -> Tensor:
        found = own(model, targets.batch)
        return found if isinstance(found, Tensor) else found[0]

    return {torch.float32: seconds_of_a_step(task.baseline, inputs, loss)}
