"""Importance of weights: by their size, their effect on the loss, or the inputs they multiply."""

import torch
from torch import Tensor, nn

from compressors.base import Task, run
from compressors.budget.input_statistics import InputSquares
from compressors.models.calibration import (
    batch_size,
    calibration_batches,
    device_of,
    labelled_batches,
)
from compressors.models.copying import copy_model
from compressors.models.fused_attention import plain_attention
from compressors.models.trainable import require_gradients
from compressors.weights.compressible import compressible_weights

IMPORTANCES = ("magnitude", "taylor", "wanda")


def magnitude(weight: Tensor) -> Tensor:
    """Return the absolute values of a weight `[R, ...]`, in its shape."""
    return weight.detach().abs()


def taylor(model: nn.Module, task: Task, samples: int = 256) -> dict[str, Tensor]:
    """Return the first-order estimate of how much the task's loss changes without each weight.

    The score of a weight w is the mean over batches of `|w * dL/dw|`, where L is the task's mean
    loss of a labelled batch (Molchanov et al., 2019, arXiv:1906.10771). The absolute value, unlike
    the square, has the unit of the loss, so that scores of all layers can be compared and added.
    It is taken for each batch before averaging: the gradient of a trained model over all its data
    is near zero everywhere, and would rank noise.

    Args:
        model: The model; its parametrisations and dropout act as in inference.
        task: The source of the training batches and the loss.
        samples: Training samples, rounded up to whole batches.

    Returns:
        Scores by the name in `model.named_parameters()`, in the parameter's shape `[R, ...]`. The
        score of a parametrised weight is under its stored parameter, such as
        `0.parametrizations.weight.original`, and is 0 where a mask is 0. An unused parameter
        scores 0.

    Raises:
        ValueError: the task has no training batches.
        FloatingPointError: a score is not finite.
    """
    probe = require_gradients(copy_model(model))
    parameters = dict(probe.named_parameters())
    scores = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    batches = 0
    # cuDNN has no backward pass for recurrent layers in eval mode.
    with plain_attention(), torch.backends.cudnn.flags(enabled=False), torch.enable_grad():
        for inputs, targets in labelled_batches(task, device_of(probe), samples):
            probe.zero_grad()
            task.loss(run(probe, inputs), targets).backward()  # type: ignore[no-untyped-call]
            batches += 1
            for name, parameter in parameters.items():
                if parameter.grad is not None:
                    scores[name] += (parameter.detach() * parameter.grad).abs()
    if batches == 0:
        raise ValueError("task.train_batches(0) yields no batch to measure importance on")
    return {name: _finite(name, score / batches) for name, score in scores.items()}


def wanda(model: nn.Module, task: Task, samples: int = 256) -> dict[str, Tensor]:
    """Return the absolute value of each weight times the L2 norm of the input it multiplies.

    The score of a weight w that multiplies the feature x is `|w| * ||x||_2` over all samples and
    positions of the calibration data (Sun et al., 2023, arXiv:2306.11695). `InputSquares` lists
    the feature of each kind of layer. A weight used in several places gets the norm over all of
    them. A feature that cannot be observed counts as 1 in every sample, so that its norm is the
    square root of the number of samples.

    Args:
        model: The model; its parametrisations and dropout act as in inference.
        task: The source of the training batches; targets are not used.
        samples: Training samples, rounded up to whole batches.

    Returns:
        Scores of every weight of `compressible_weights(model)`, in its shape `[R, ...]`, by its
        name in `model.named_parameters()`; a parametrised weight has the name of its stored
        parameter, such as `0.parametrizations.weight.original`. The score is that of the weight in
        use, 0 where a mask is 0. A weight made of several stored tensors has none.

    Raises:
        ValueError: the task has no training batches.
        FloatingPointError: a score is not finite.
    """
    seen = 0
    with InputSquares(model) as squares, plain_attention(), torch.no_grad():
        for inputs in calibration_batches(task, device_of(model), samples):
            run(model, inputs)
            seen += batch_size(inputs)
    if seen == 0:
        raise ValueError("task.train_batches(0) yields no batch to measure importance on")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scores = {}
    for weight in compressible_weights(model):
        name = names.get(id(weight.stored()))
        if name is not None:
            scores[name] = magnitude(weight.value()) * squares.of(weight, unseen=seen).sqrt()
    return {name: _finite(name, score) for name, score in scores.items()}


def _finite(name: str, score: Tensor) -> Tensor:
    if not bool(torch.isfinite(score).all()):
        raise FloatingPointError(f"the importance of {name} is not finite")
    return score
