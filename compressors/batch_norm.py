"""Batch-norm statistics for a model that is no longer the one they were measured on."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressors.base import Inputs, run


def reestimate_batch_norm(model: nn.Module, batches: Iterable[Inputs]) -> None:
    """Measure the running mean and variance of every batch-norm layer anew, in place.

    Each becomes the plain average over the batches of the batch's own mean and variance, with the
    rest of the model in eval mode. A model without such layers is left as it is.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for inputs in batches:
            run(model, inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
