"""The one training loop, used for recovery and for the baselines of the bundled tasks."""

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.batch_norm import train_mode
from compressors.models.calibration import device_of, to_device
from compressors.models.copying import refresh_recurrent_weights
from compressors.models.small_batches import SmallBatches
from compressors.training.memory_layout import fastest_layout
from compressors.training.precision import autocast, in_float32

Batches = Callable[[int], Iterable[tuple[Any, ...]]]
"""Returns for an epoch its batches: the inputs, then the further arguments of the loss."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long, how fast and in which precision a model is trained."""

    epochs: float
    """Passes over the data, at least 0; the last may be partial."""
    learning_rate: float
    """The highest learning rate of the schedule."""
    weight_decay: float = 0.0
    """Decoupled weight decay (Loshchilov & Hutter, 2019, arXiv:1711.05101)."""
    precision: torch.dtype = torch.float32
    """Precision of the forward pass; parameters, loss and gradients stay in float32."""
    steps_per_epoch: int | None = None
    """Number of batches in an epoch; None to count them."""


def train(
    model: nn.Module,
    batches: Batches,
    loss: Callable[..., Tensor],
    settings: TrainingSettings,
    *,
    own_step: Callable[..., Tensor] | None = None,
    before_step: Callable[[float], None] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train a model in place with AdamW; it ends in eval mode.

    The learning rate rises over the first twentieth of the steps, then falls to zero along a
    cosine. Weight decay acts only on parameters of two or more axes. Batches that batch-norm
    refuses, with one value per channel, are left out.

    Args:
        model: Its parameters that require a gradient are trained, on the device they are on.
        batches: Returns the batches of an epoch.
        loss: Returns the mean loss of a batch from the outputs and the rest of the batch.
        settings: Length, learning rate and precision.
        own_step: Returns the loss from the model and the batch, in place of `loss` of its outputs.
        before_step: Called before each step with the share of the training that is done.
        on_epoch: Called after each epoch with its number, from 0, and its mean loss.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    device = device_of(model)
    total = _total_steps(settings, batches)
    optimizer = _optimizer(model, settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warm_cosine(step, total))
    loss_of, small = own_step or _step(loss, device, settings.precision), SmallBatches(model)
    with fastest_layout(model, _inputs(batches)):
        train_mode(model)
        step = 0
        for epoch in range(math.ceil(settings.epochs)):
            losses: list[Tensor] = []
            for batch in islice(batches(epoch), total - step):
                if before_step is not None:
                    before_step(step / total)
                step += 1
                inputs, *known = (to_device(part, device) for part in batch)
                if small.refused(inputs):
                    continue
                value = loss_of(model, inputs, *known)
                _check_finite(value, f"epoch {epoch}, batch {len(losses)}", settings)
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                scheduler.step()
                losses.append(value.detach())
            if not losses:
                raise ValueError(f"epoch {epoch} has no batch to train on that batch-norm accepts")
            if on_epoch is not None:
                on_epoch(epoch, float(torch.stack(losses).mean()))
        model.zero_grad()
    model.eval()
    refresh_recurrent_weights(model)


def _step(
    loss: Callable[..., Tensor], device: torch.device, precision: torch.dtype
) -> Callable[..., Tensor]:
    """Return the function from a model and a batch to the loss of its outputs."""

    def loss_of_outputs(model: nn.Module, inputs: Inputs, *known: Any) -> Tensor:
        with autocast(device, precision):
            outputs = run(model, inputs)
        return loss(in_float32(outputs), *known)

    return loss_of_outputs


def _total_steps(settings: TrainingSettings, batches: Batches) -> int:
    if not settings.epochs:
        return 0
    return math.ceil(settings.epochs * (settings.steps_per_epoch or _count(batches(0))))


def _count(batches: Iterable[tuple[Any, ...]]) -> int:
    return len(batches) if isinstance(batches, Sized) else sum(1 for _ in batches)


def _inputs(batches: Batches) -> Iterator[Any]:
    """Yield the inputs of the first epoch; a data loader is opened only if one is taken."""
    for inputs, *_ in batches(0):
        yield inputs


def _optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decay = settings.weight_decay
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _warm_cosine(step: int, total: int) -> float:
    """Return the learning rate at a step as a share of the highest."""
    warm_up = max(1, total // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def _check_finite(value: Tensor, place: str, settings: TrainingSettings) -> None:
    if not torch.isfinite(value):
        raise FloatingPointError(
            f"training loss is {value.item()} in {place} "
            f"(learning_rate {settings.learning_rate:g}); try a lower learning rate"
        )
