"""Convolutional nets with other norms than the usual batch normalisation, or none."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.images.joined_maps import Pooled, images, unit


class GroupNormed(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        self.norm_one = nn.GroupNorm(groups, width)
        self.norm_two = nn.GroupNorm(groups, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.silu(self.norm_two(self.one(F.silu(self.norm_one(x))))))


def group_norm() -> Parts:
    """Residual blocks with group normalisation: each group must keep as many channels."""
    return images(Pooled(16, nn.Conv2d(3, 16, 3, padding=1), GroupNormed(16, 4)))


def instance_norm_of_volumes() -> Parts:
    """Convolutions over volumes with instance norms, one with scales and one without."""
    model = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1),
        nn.InstanceNorm3d(8, affine=True),
        nn.LeakyReLU(0.1),
        nn.Conv3d(8, 12, 3, padding=1),
        nn.InstanceNorm3d(12),
        nn.LeakyReLU(0.1),
        nn.AvgPool3d(2),
        nn.Flatten(),
        nn.Linear(96, 4),
    )
    return parts.task(model, parts.near_centres(1, 4, 4, 4), steps=60)


class ChannelNorm(nn.Module):
    """Normalises over the channels of maps `[B, C, H, W]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean(1, keepdim=True)) * torch.rsqrt(x.var(1, keepdim=True) + 1e-5)
        return x * self.gain[:, None, None] + self.shift[:, None, None]


class LastAxisBlock(nn.Module):
    """A depthwise convolution, then a feed-forward over the channels as the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.layer_scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.deep(x).movedim(1, -1))
        y = self.layer_scale * self.narrow(F.gelu(self.wide(y)))
        return x + y.movedim(-1, 1)


def norm_of_the_users_own() -> Parts:
    """Blocks with a norm written by hand, a layer scale, and channels on the last axis."""
    stem = nn.Sequential(nn.Conv2d(3, 12, 2, stride=2), ChannelNorm(12))
    return images(Pooled(12, stem, LastAxisBlock(12), LastAxisBlock(12)))


def batch_norm_without_scales() -> Parts:
    """Batch normalisation with affine=False, which has statistics but no parameters."""
    body = (
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12, affine=False),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1),
        nn.BatchNorm2d(12, affine=False),
    )
    return images(Pooled(12, *body))


class FixedNorm(nn.Module):
    """A batch normalisation that was frozen into buffers, as detection backbones have."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for name, value in (("weight", 0.9), ("bias", 0.1), ("mean", 0.05), ("variance", 1.1)):
            self.register_buffer(name, torch.full((width,), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.variance + 1e-5).rsqrt()
        return x * scale[:, None, None] + (self.bias - self.mean * scale)[:, None, None]


def norm_in_buffers() -> Parts:
    """Scale and shift of a norm are buffers, which no gradient reaches."""
    body = (
        nn.Conv2d(3, 12, 3, padding=1, bias=False),
        FixedNorm(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, padding=1, bias=False),
        FixedNorm(16),
        nn.ReLU(),
    )
    return images(Pooled(16, *body))


def synchronised_batch_norm() -> Parts:
    """A model of several cards whose norms are still SyncBatchNorm."""
    built = images(Pooled(16, unit(3, 12), unit(12, 16)))
    return {**built, "model": nn.SyncBatchNorm.convert_sync_batchnorm(built["model"])}


class SlopePerChannel(nn.Module):
    """A convolution with one learned slope a channel."""

    def __init__(self, inputs: int, width: int, slope: nn.PReLU | None = None) -> None:
        super().__init__()
        self.layer, self.slope = nn.Conv2d(inputs, width, 3, padding=1), slope or nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.slope(self.layer(x))


def learned_slopes() -> Parts:
    """PReLU with one slope a channel, one of them used at two places."""
    shared = nn.PReLU(12)
    body = (SlopePerChannel(3, 12, shared), SlopePerChannel(12, 12, shared))
    return images(Pooled(16, *body, SlopePerChannel(12, 16)))


CASES = (
    Case(task=group_norm),
    Case(task=instance_norm_of_volumes),
    Case(task=norm_of_the_users_own),
    Case(task=batch_norm_without_scales),
    Case(task=norm_in_buffers),
    Case(task=synchronised_batch_norm),
    Case(task=learned_slopes),
)
