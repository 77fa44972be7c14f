"""The two LeNets that pruning papers report on."""

import torch
from torch import Tensor, nn


class LeNet300(nn.Module):
    """LeNet-300-100 (LeCun et al., 1998): `[B, 1, 28, 28]` to logits `[B, 10]`, 266,610 weights."""

    def __init__(self, widths: tuple[int, int] = (300, 100)) -> None:
        super().__init__()
        first, second = widths
        self.fc1 = nn.Linear(784, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, 10]` for images `[B, 1, 28, 28]`."""
        x = torch.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc3(torch.relu(self.fc2(x)))
        return logits


class LeNet5(nn.Module):
    """LeNet-5 as in Caffe (20-50-500-10): `[B, 1, 28, 28]` to logits `[B, 10]`, 431,080 weights."""

    def __init__(self, widths: tuple[int, int, int] = (20, 50, 500)) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(1, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * second, third)
        self.fc2 = nn.Linear(third, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, 10]` for images `[B, 1, 28, 28]`."""
        x = self.pool(self.conv2(self.pool(self.conv1(x))))
        logits: Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return logits
