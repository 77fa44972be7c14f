"""Batch-norm statistics of a model that has changed since they were measured."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressors.base import Inputs, Task, run
from compressors.models.calibration import calibration_batches, device_of
from compressors.models.small_batches import SmallBatches

STATISTICS_SAMPLES = 4096
"""Number of training samples on which statistics are measured."""


def renew_batch_norm(model: nn.Module, task: Task) -> None:
    """Measure the statistics of every batch-norm layer anew on the task's training data, in place.

    Without this a model that has lost structure is useless, even for comparisons.
    """
    reestimate_batch_norm(model, calibration_batches(task, device_of(model), STATISTICS_SAMPLES))


def reestimate_batch_norm(model: nn.Module, batches: Iterable[Inputs]) -> None:
    """Measure the running mean and variance of every batch-norm layer anew, in place.

    Each becomes the plain average of the means and variances of the batches, with the rest of the
    model in eval mode. A batch with one value per channel has no variance and is left out. A model
    without such layers is left as it is.

    Args:
        model: The model, in eval mode afterwards.
        batches: Batches of inputs `[B, ...]`, on the model's device.

    Raises:
        ValueError: there are no batches.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    small = SmallBatches(model)
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    seen = False
    with torch.no_grad():
        for inputs in batches:
            if not small.refused(inputs):
                run(model, inputs)
                seen = True
    if not seen:
        raise ValueError("there is no batch to measure batch-norm statistics on")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
