"""Convolutional nets in which maps are weighted by what other layers make of them."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases.case import Case, Parts
from tests.cases.images.joined_maps import Pooled, images, unit


class Excitation(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.up(F.relu(self.down(pooled))))


class Inverted(nn.Module):
    """Wide depthwise maps between narrow ones, with excitation."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.expand, self.expand_norm = nn.Conv2d(width, wide, 1), nn.BatchNorm2d(wide)
        self.deep = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.deep_norm, self.weigh = nn.BatchNorm2d(wide), Excitation(wide)
        self.narrow, self.norm = nn.Conv2d(wide, width, 1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardswish(self.expand_norm(self.expand(x)))
        y = self.weigh(F.hardswish(self.deep_norm(self.deep(y))))
        return x + self.norm(self.narrow(y))


def squeeze_and_excitation() -> Parts:
    """Inverted residuals with squeeze and excitation and hard swish, as phones run them."""
    return images(Pooled(8, unit(3, 8), Inverted(8, 20), Inverted(8, 20)))


class Attended(nn.Module):
    """Weights the channels by their mean and maximum, then the places by those over channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, width))
        self.places = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.channels(x.mean((2, 3))) + self.channels(x.amax((2, 3)))
        x = x * weights.sigmoid()[:, :, None, None]
        seen = torch.stack((x.mean(1), x.amax(1)), dim=1)
        return x * self.places(seen).sigmoid()


def attention_over_channels_and_places() -> Parts:
    """Statistics over the channels weigh the places, so that every channel matters to them."""
    return images(Pooled(12, unit(3, 12), Attended(12), unit(12, 12)))


class Sharpened(nn.Module):
    """Convolves with its weight times a gain that is computed in every call."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.2 * torch.randn(outputs, inputs, 3, 3))
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, padding=1)


def weight_computed_in_the_forward_pass() -> Parts:
    """A weight that the model's own code scales in every call before it convolves with it."""
    norm = nn.BatchNorm2d(12)
    return images(Pooled(12, Sharpened(3, 12), norm, nn.ReLU(), unit(12, 12)))


CASES = (
    Case(task=squeeze_and_excitation),
    Case(task=attention_over_channels_and_places),
    Case(task=weight_computed_in_the_forward_pass, left="body.0"),
)
