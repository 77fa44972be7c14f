"""What training and writing cost, measured on the baseline."""

from compressors.base import Task
from compressors.distillation import steps_per_epoch
from compressors.models.calibration import device_of, to_device
from compressors.training.precision import seconds_by_precision
from search.proposal.costs import Costs


def measure_costs(task: Task, file_seconds: float) -> Costs:
    """Time steps of training on the first batch, in both precisions.

    Args:
        task: Gives the baseline and the data.
        file_seconds: What it took to build the task, to write the baseline and to measure it.
    """
    inputs, targets = next(iter(task.train_batches(0)))
    there = to_device(targets, device_of(task.baseline))
    steps = seconds_by_precision(task.baseline, inputs, lambda outputs: task.loss(outputs, there))
    fastest = min(steps, key=lambda precision: steps[precision])
    return Costs(
        epoch=steps[fastest] * steps_per_epoch(task),
        file=file_seconds,
        precision=str(fastest).removeprefix("torch."),
    )
