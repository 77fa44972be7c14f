"""ResNet-20 for CIFAR-10 (He et al., 2016, arXiv:1512.03385)."""

import pickle
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from search.errors import ConfigError

WIDTHS = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
"""Channels of the first convolution and after each block."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., 2016, arXiv:1512.03385).

    From `[B, width_in, H, W]` to `[B, width, H / stride, W / stride]`.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            convolution = nn.Conv2d(width_in, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + f(x)) for x `[B, width_in, H, W]`."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


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
        """Return logits `[B, 10]` for images `[B, 3, 32, 32]`."""
        y = self.layers(F.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(y.mean((2, 3)))
        return logits


def load_resnet20(checkpoint: str | Path) -> nn.Module:
    """Return the network in eval mode, with the weights of a file.

    Args:
        checkpoint: The network's `state_dict`, as safetensors or written by `torch.save`.

    Raises:
        ConfigError: There is no such file, or it does not hold the weights of this network.
    """
    model = ResNet20()
    try:
        model.load_state_dict(_weights(Path(checkpoint)))
    except FileNotFoundError as error:
        raise ConfigError(f"task.checkpoint: there is no file {checkpoint}") from error
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"task.checkpoint: {checkpoint} does not hold the weights of {ResNet20.__qualname__} "
            f"in {__name__}: {error}"
        ) from error
    return model.eval()


def _weights(path: Path) -> Mapping[str, Tensor]:
    if path.suffix != ".safetensors":
        weights: Mapping[str, Tensor] = torch.load(path, weights_only=True)
        return weights
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ConfigError(
            "task.checkpoint: a safetensors file needs the package safetensors: "
            "pip install safetensors"
        ) from error
    return load_file(path)
