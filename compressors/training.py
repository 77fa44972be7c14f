"""The training loop: the only one, for recovery and for the tasks' own baselines."""

import math
from collections.abc import Callable, Iterable, Sized
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import run
from compressors.calibration import device_of, to_device
from compressors.copying import refresh_recurrent_weights


def train(
    model: nn.Module,
    batches: Callable[[int], Iterable[tuple[Any, ...]]],
    loss: Callable[..., Tensor],
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float = 0.0,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train a model in place with AdamW; it ends in eval mode.

    The learning rate rises over the first twentieth of the steps, then falls to zero along a
    cosine. Weight decay acts on parameters of at least two axes only.

    Args:
        model: Its parameters that require a gradient are trained, on the device they are on.
        batches: For an epoch, its batches: the inputs, then whatever the loss wants to know.
        loss: From the outputs and the rest of the batch, the mean loss of the batch.
        epochs: Passes over the data.
        learning_rate: The highest.
        weight_decay: Decoupled from the gradient (Loshchilov & Hutter, 2019, arXiv:1711.05101).
        on_epoch: Called after each epoch with its number, from 0, and its mean loss.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    device = device_of(model)
    optimizer = _optimizer(model, learning_rate, weight_decay)
    total = epochs * _count(batches(0)) if epochs else 0
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, total))
    model.train()
    for epoch in range(epochs):
        losses: list[Tensor] = []
        for inputs, *rest in batches(epoch):
            outputs = run(model, to_device(inputs, device))
            value = loss(outputs, *to_device(rest, device))
            if not torch.isfinite(value):
                raise FloatingPointError(
                    f"training loss is {value.item()} in epoch {epoch}, batch {len(losses)} "
                    f"(learning_rate {learning_rate:g})"
                )
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            scheduler.step()
            losses.append(value.detach())
        if on_epoch is not None:
            on_epoch(epoch, float(torch.stack(losses).mean()))
    model.zero_grad()
    model.eval()
    refresh_recurrent_weights(model)


def _optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


def _count(batches: Iterable[tuple[Any, ...]]) -> int:
    return len(batches) if isinstance(batches, Sized) else sum(1 for _ in batches)


def _share(step: int, total: int) -> float:
    """Return the learning rate at a step as a share of the highest."""
    warm_up = max(1, total // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))
