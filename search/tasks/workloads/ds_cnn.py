"""The depthwise separable network for keyword spotting of Zhang et al. (2017, arXiv:1711.07128)."""

import torch
from torch import Tensor, nn

CHANNELS = 172
"""Those of the paper's network of medium size."""


class SeparableConvolution(nn.Module):
    """A 3x3 convolution in each channel, then one across them: `[B, C, H, W]`, halved by stride 2.

    Each is followed by batch-norm and relu.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features `[B, C, H / stride, W / stride]` for x `[B, C, H, W]`."""
        x = torch.relu(self.norm1(self.depthwise(x)))
        return torch.relu(self.norm2(self.pointwise(x)))


class DsCnn(nn.Module):
    """From cepstral coefficients `[B, 1, 49, 10]` to logits `[B, classes]`."""

    def __init__(self, classes: int, channels: int = CHANNELS) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, (10, 4), (2, 1), (5, 1), bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(
            *(SeparableConvolution(channels, stride) for stride in (2, 1, 1, 1))
        )
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, classes]` for features `[B, 1, T, F]`."""
        logits: Tensor = self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return logits
