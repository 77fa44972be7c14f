"""The default task: scikit-learn's 8x8 digits and a small residual network."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compressors.training.loop import TrainingSettings, train
from search.tasks.baseline import trained_once
from search.tasks.tensors import TensorBatches, correct, cross_entropy

EPOCHS = 30


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm beside an identity: `[B, C, H, W]` to `[B, C, H, W]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + f(x)) for x `[B, C, H, W]`, shape kept."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(out)))


class DigitsNet(nn.Module):
    """A residual network for 8x8 images, `[B, 1, 8, 8]` to logits `[B, 10]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.blocks1 = nn.Sequential(ResidualBlock(16), ResidualBlock(16))
        self.down = nn.Sequential(
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.blocks2 = nn.Sequential(ResidualBlock(32), ResidualBlock(32))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, 10]` for images `[B, 1, 8, 8]`."""
        x = self.blocks2(self.down(self.blocks1(self.stem(x))))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


@dataclass(frozen=True, kw_only=True)
class _Split:
    """Images `[N, 1, 8, 8]` and labels `[N]`, divided by seed."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def digits(seed: int = 0) -> dict[str, Any]:
    """Return the digits task: 1,077 images to train on, 360 to validate, 360 to test.

    Args:
        seed: Seed of the split and of the baseline's training.
    """
    split = _split(seed)
    inputs, targets = split.train
    batches = TensorBatches(inputs=inputs, targets=targets, batch_size=64)
    torch.manual_seed(seed)
    model = trained_once(
        f"digits-{EPOCHS}-{seed}",
        DigitsNet(),
        lambda net: train(
            net,
            batches,
            cross_entropy,
            TrainingSettings(epochs=EPOCHS, learning_rate=3e-3, weight_decay=1e-3),
        ),
    )
    return {
        "model": model,
        "train": batches,
        "validation": [split.validation],
        "test": [split.test],
        "loss": cross_entropy,
        "score": correct,
    }


def _split(seed: int) -> _Split:
    # Not at the top, since the driver imports this module too and never loads the data.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(data.target)
    rest, test = train_test_split(
        range(len(labels)), test_size=360, random_state=seed, stratify=labels
    )
    train_rows, validation = train_test_split(
        rest, test_size=360, random_state=seed, stratify=labels[rest]
    )
    return _Split(
        train=(images[train_rows], labels[train_rows]),
        validation=(images[validation], labels[validation]),
        test=(images[test], labels[test]),
    )
