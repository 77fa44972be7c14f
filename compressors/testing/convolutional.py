"""Convolutional networks with skip connections and with depthwise convolutions."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.testing.data import CLASSES


class ResidualBlock(nn.Module):
    """Two convolutions of one width around a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps `[B, W, H, H]` of the shape of `x`."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(y)))


class ResidualNet(nn.Module):
    """A CNN of three residual blocks of one width; images `[B, 1, 8, 8]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.blocks = nn.Sequential(*(ResidualBlock(16) for _ in range(3)))
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, C]` of images `[B, 1, 8, 8]`."""
        logits: Tensor = self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))
        return logits


class InvertedResidual(nn.Module):
    """A wide depthwise convolution between two of size 1, around a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU6(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU6(),
            nn.Conv2d(2 * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps `[B, W, H, H]` of the shape of `x`."""
        maps: Tensor = x + self.body(x)
        return maps


class DepthwiseNet(nn.Module):
    """A CNN of inverted residual blocks with depthwise convolutions; images `[B, 1, 8, 8]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
        )
        self.blocks = nn.Sequential(InvertedResidual(8), InvertedResidual(8))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, C]` of images `[B, 1, 8, 8]`."""
        logits: Tensor = self.head(self.blocks(self.stem(x)))
        return logits
