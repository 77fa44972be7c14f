"""Nets that turn vectors into maps, maps into vectors, or pool maps in uncommon ways."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.images.maps_out import waves


class Generator(nn.Module):
    """A vector becomes maps through a linear layer and a view by a layer's own channel count."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(10, 16 * 9)
        self.up = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.norm, self.last = nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 1, 2, stride=2)

    def forward(self, code: Tensor) -> Tensor:
        maps = F.relu(self.enter(code)).view(-1, self.up.in_channels, 3, 3)
        return self.last(F.relu(self.norm(self.up(maps))))


def vector_to_maps() -> Parts:
    """A generator: a linear layer, a view by a channel count, and transposed convolutions."""
    _, images = waves()
    codes = images.flatten(1)[:, :10]
    return parts.task(
        Generator(),
        (codes, images),
        loss=F.mse_loss,
        score=parts.squared_error,
        maximize=False,
    )


def pooled_to_a_size_that_is_no_factor() -> Parts:
    """Adaptive pooling of 6x6 maps to 4x4, for which ONNX has no operator."""
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 4)
    )
    return parts.task(model, parts.near_centres(1, 8, 8))


def flattened_maps() -> Parts:
    """A channel of the last maps is a block of columns of the first linear layer."""
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 24),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(24, 4),
    )
    return parts.task(model, parts.near_centres(1, 8, 8, noise=2.0))


class ByteImages(nn.Module):
    """Takes bytes and scales them by a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.45]).view(3, 1, 1))
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, 2, 1))
        self.head = nn.Linear(48, 4)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.body((pixels / 255 - self.mean) / 0.25).relu().flatten(1))


def images_of_bytes() -> Parts:
    """Images of type uint8, scaled inside the model."""
    images, targets = parts.near_centres(3, 8, 8)
    return parts.task(ByteImages(), ((images * 16 + 128).clamp(0, 255).byte(), targets))


CASES = (
    Case(task=vector_to_maps),
    Case(task=pooled_to_a_size_that_is_no_factor),
    Case(task=flattened_maps),
    Case(task=images_of_bytes),
)
