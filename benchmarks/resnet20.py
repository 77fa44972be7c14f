"""ResNet-20 for CIFAR-10 (He et al., 2016, arXiv:1512.03385)."""

from itertools import pairwise
from pathlib import Path

import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.networks import BasicBlock

WIDTHS = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
"""Channels of the first convolution and after each block."""


class ResNet20(nn.Module):
    """20 layers from images `[B, 3, 32, 32]` to logits `[B, 10]`, 272,474 parameters.

    Where the width changes, the shortcut is a convolution.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layers = nn.Sequential(
            *(BasicBlock(old, new, 1 + (old != new)) for old, new in pairwise(WIDTHS))
        )
        self.fc = nn.Linear(WIDTHS[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(F.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(y.mean((2, 3)))
        return logits


def load_resnet20(checkpoint: Path) -> nn.Module:
    """Return the network in eval mode and frozen, with the weights of a safetensors file."""
    model = ResNet20()
    model.load_state_dict(load_file(checkpoint))
    return model.eval().requires_grad_(False)
