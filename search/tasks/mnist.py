"""MNIST (60,000 training and 10,000 test images) with the two LeNets that pruning papers report on.

Of the training images the last 5,000 are the validation data. The baseline is trained on warped
images; recovery sees them unwarped, since a small model has no capacity to spare for digits that do
not occur.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressors.training.loop import TrainingSettings, train
from search.tasks.baseline import trained_once
from search.tasks.tensors import (
    TensorBatches,
    correct,
    cross_entropy,
    first_rows,
    unit_floats,
)
from search.tasks.workloads.lenet import LeNet5, LeNet300
from search.tasks.workloads.mnist_files import mnist_files, read_images, read_labels

VALIDATION = 5_000
BASELINE_BATCH = 128


def lenet300(
    seed: int = 0, epochs: int = 30, batch_size: int = 128, train_images: int | None = None
) -> dict[str, Any]:
    """Return MNIST with LeNet-300-100, trained on first use.

    Args:
        seed: Seed of the baseline's training.
        epochs: Epochs of the baseline's training.
        batch_size: Batch size of recovery; the baseline is trained in batches of 128.
        train_images: Number of training images that recovery uses, the first of the 55,000; None
            for all. The baseline is trained on all.

    Raises:
        ConfigError: `train_images` is out of range, or the files cannot be had.
    """
    baseline = _Baseline(name="mnist-lenet300", network=LeNet300, seed=seed, epochs=epochs)
    return _task(baseline, batch_size, train_images)


def lenet5(
    seed: int = 0, epochs: int = 12, batch_size: int = 128, train_images: int | None = None
) -> dict[str, Any]:
    """Return MNIST with LeNet-5, trained on first use; arguments and errors as in `lenet300`."""
    baseline = _Baseline(name="mnist-lenet5", network=LeNet5, seed=seed, epochs=epochs)
    return _task(baseline, batch_size, train_images)


def warped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images `[B, 1, H, W]` as floats, each rotated, scaled, sheared and shifted at random.

    The limits are 0.2 radians, 12 %, 0.2 of the height, and 0.07 of the width or height.
    """
    draw = torch.rand(5, len(images), generator=generator) * 2 - 1
    angle, scale, shear = 0.2 * draw[0], 1 + 0.12 * draw[1], 0.2 * draw[2]
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cosine, shear - sine, 0.14 * draw[3]], 1)]
    rows.append(torch.stack([sine, cosine, 0.14 * draw[4]], 1))
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(unit_floats(images), grid, align_corners=False)


@dataclass(frozen=True, kw_only=True)
class _Baseline:
    """A network and how it is trained."""

    name: str
    network: Callable[[], nn.Module]
    seed: int
    epochs: int

    def trained(self, batches: TensorBatches) -> nn.Module:
        """Return the network, trained on warped images."""
        torch.manual_seed(self.seed)
        return trained_once(
            f"{self.name}-warped-{self.epochs}-{self.seed}",
            self.network(),
            lambda net: train(
                net,
                replace(batches, augment=warped),
                cross_entropy,
                TrainingSettings(epochs=self.epochs, learning_rate=2e-3, weight_decay=1e-4),
            ),
        )


def _task(baseline: _Baseline, batch_size: int, train_images: int | None) -> dict[str, Any]:
    folder = mnist_files()
    images, labels = read_images(folder, "train"), read_labels(folder, "train")
    batches = TensorBatches(
        inputs=images[:-VALIDATION], targets=labels[:-VALIDATION], batch_size=BASELINE_BATCH
    )
    held_out = {
        "validation": (images[-VALIDATION:], labels[-VALIDATION:]),
        "test": (read_images(folder, "t10k"), read_labels(folder, "t10k")),
    }
    return {
        "model": baseline.trained(batches),
        "train": replace(
            first_rows(batches, train_images, "task.train_images"), batch_size=batch_size
        ),
        **{
            name: TensorBatches(inputs=inputs, targets=targets, batch_size=1_000)
            for name, (inputs, targets) in held_out.items()
        },
        "loss": cross_entropy,
        "score": correct,
    }
