"""ResNet-20 on scikit-learn's digits at 16x16: a deeper network than that of the digits task."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from compressors.training.loop import TrainingSettings, train
from search.tasks.baseline import trained_once
from search.tasks.digits import digits
from search.tasks.tensors import cross_entropy
from search.tasks.workloads.resnet20 import ResNet20

EPOCHS = 20
SIZE = 16
"""Pixels of an image's side."""


def resnet20_digits16(seed: int = 0) -> dict[str, Any]:
    """Return the parts of the task; the baseline is trained once per machine, in a minute.

    Args:
        seed: Seed of the split and of the baseline's training.
    """
    parts = digits(seed)
    batches = replace(parts["train"], inputs=enlarged(parts["train"].inputs))
    settings = TrainingSettings(epochs=EPOCHS, learning_rate=3e-3, weight_decay=1e-3)
    torch.manual_seed(seed)
    model = trained_once(
        f"resnet20-digits16-{EPOCHS}-{seed}",
        ResNet20(),
        lambda net: train(net, batches, cross_entropy, settings),
    )
    held_out = {name: _enlarged(parts[name]) for name in ("validation", "test")}
    return {**parts, **held_out, "model": model, "train": batches}


def enlarged(images: Tensor) -> Tensor:
    """Return images `[N, 1, 8, 8]` as the network takes them, `[N, 3, 16, 16]`."""
    larger = functional.interpolate(images, size=SIZE, mode="bilinear", align_corners=False)
    return larger.expand(-1, 3, -1, -1).contiguous()


def _enlarged(batches: Iterable[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    return [(enlarged(inputs), targets) for inputs, targets in batches]
