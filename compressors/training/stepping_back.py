"""Stepping back from the end of a training towards its start, as far as the training did harm.

The learning rate that a damaged model needs leads one that is near its optimum away from it, since
Adam's steps hardly depend on the size of the gradient (Kingma & Ba, 2015, arXiv:1412.6980).
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from compressors.models.calibration import batch_size, device_of, to_device
from compressors.models.copying import copy_model

SHARES = (1.0, 0.5, 0.25)
"""Shares of the way from the start to the end of a training that are tried, then none of it."""

Objective = Callable[[nn.Module], float]
"""From a model in eval mode to what its training lowers."""


def step_back(trained: nn.Module, start: nn.Module, objective: Objective) -> nn.Module:
    """Return the trained model, or, while its objective is above the start's, one nearer the start.

    A model between two has the weights between theirs (Wortsman et al., 2022, arXiv:2109.01903).

    Args:
        trained: The end of the training, in eval mode and frozen.
        start: The model before it, of the same structure; it is returned if none tried is as good.
        objective: What the training lowers, measured on data.
    """
    limit = objective(start)
    for share in SHARES:
        model = trained if share == 1 else _between(start, trained, share)
        if math.isnan(limit) or objective(model) <= limit:
            return model
    return start


def mean_loss(
    model: nn.Module, batches: Iterable[tuple[object, ...]], loss: Callable[..., Tensor]
) -> float:
    """Return the mean over samples of a loss, which draws the same random numbers in every call.

    Args:
        model: The model, in eval mode.
        batches: Inputs `[B, ...]`, then the further arguments of the loss.
        loss: From the model and the parts of a batch to the mean loss of the batch.
    """
    total, samples = 0.0, 0
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for batch in batches:
            parts = to_device(batch, device_of(model))
            count = batch_size(parts[0])  # type: ignore[arg-type]
            total, samples = total + count * float(loss(model, *parts)), samples + count
    return total / samples


def _between(start: nn.Module, trained: nn.Module, share: float) -> nn.Module:
    """Return the model at a share of the way; masks and all that is not a float are the trained's.

    A value that has not moved stays to the bit, an infinite one too.
    """
    model, began = copy_model(trained), start.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point() or value.is_complex():
            old = began[name]
            value.copy_(torch.where(value == old, value, old + share * (value - old)))
    return model
