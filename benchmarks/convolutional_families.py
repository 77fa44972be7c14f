"""Tiny networks of the structures of well-known convolutional families."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.architecture_task import Architecture

CLASSES = 5


def unit(
    inputs: int, outputs: int, size: int = 1, groups: int = 1, act: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        act(),
    )


class Classifier(nn.Module):
    """A stem, a body and a linear head on the mean of its maps."""

    def __init__(self, stem: nn.Module, body: nn.Module, width: int) -> None:
        super().__init__()
        self.stem, self.body, self.head = stem, body, nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Squeeze(nn.Module):
    def __init__(self, width: int, gate: type[nn.Module]) -> None:
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1), gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    """A wide depthwise convolution between narrow maps, with squeeze and excitation."""

    def __init__(self, width: int, act: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        wide = 3 * width
        self.body = nn.Sequential(
            unit(width, wide, act=act),
            unit(wide, wide, 3, groups=wide, act=act),
            Squeeze(wide, gate),
            nn.Conv2d(wide, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ShuffleUnit(nn.Module):
    def __init__(self, half: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            unit(half, half), unit(half, half, 3, groups=half, act=nn.Identity), unit(half, half)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, dim=1)
        x = torch.cat((kept, self.body(worked)), dim=1)
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return x.view(batch, -1, height, width)


class DenseStage(nn.Module):
    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width + growth * i),
                nn.ReLU(),
                nn.Conv2d(width + growth * i, growth, 3, padding=1, bias=False),
            )
            for i in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Branches(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.three = unit(width, 6), nn.Sequential(unit(width, 4), unit(4, 8, 3))
        self.pool = unit(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.one(x), self.three(x), pooled], 1)


class Grouped(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            unit(width, width), unit(width, width, 3, groups), unit(width, width, act=nn.Identity)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class SplitStage(nn.Module):
    """The block of YOLO's backbones: one half goes on, its stages are joined with both halves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.enter, self.leave = unit(inputs, outputs, act=nn.SiLU), unit(3 * half, outputs)
        self.one, self.two = unit(half, half, 3, act=nn.SiLU), unit(half, half, 3, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        parts.append(parts[-1] + self.two(self.one(parts[-1])))
        return self.leave(torch.cat(parts, 1))


class Detector(nn.Module):
    """A backbone of two scales, a neck that joins them, and a head with boxes and classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fine = unit(3, 8, 3, act=nn.SiLU), SplitStage(8, 12)
        self.coarse, self.neck = SplitStage(12, 16), SplitStage(28, 12)
        self.boxes = nn.Sequential(unit(12, 8, 3, act=nn.SiLU), nn.Conv2d(8, 4, 1))
        self.classes = nn.Sequential(unit(12, 8, 3, act=nn.SiLU), nn.Conv2d(8, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(self.stem(x))
        coarse = self.coarse(F.max_pool2d(fine, 2))
        x = self.neck(torch.cat([F.interpolate(coarse, scale_factor=2.0), fine], 1))
        return torch.cat([self.boxes(x), self.classes(x)], 1).mean((2, 3))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.low = unit(3, 8, 3), unit(8, 12, 3)
        self.up, self.back = nn.ConvTranspose2d(12, 8, 2, stride=2), unit(16, 8, 3)
        self.mask = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        low = self.up(self.low(F.max_pool2d(high, 2)))
        return self.mask(self.back(torch.cat([low, high], 1)))


def efficient() -> nn.Module:
    body = nn.Sequential(*(Inverted(8, nn.SiLU, nn.Sigmoid) for _ in range(2)))
    return Classifier(unit(3, 8, 3, act=nn.SiLU), body, 8)


def mobile() -> nn.Module:
    body = nn.Sequential(*(Inverted(8, nn.Hardswish, nn.Hardsigmoid) for _ in range(2)))
    return Classifier(unit(3, 8, 3, act=nn.Hardswish), body, 8)


def shuffled() -> nn.Module:
    return Classifier(unit(3, 16, 3), nn.Sequential(ShuffleUnit(8), ShuffleUnit(8)), 16)


def dense() -> nn.Module:
    body = nn.Sequential(DenseStage(8, 4, 2), unit(16, 8), DenseStage(8, 4, 2), nn.BatchNorm2d(16))
    return Classifier(unit(3, 8, 3), body, 16)


def inception() -> nn.Module:
    return Classifier(unit(3, 8, 3), nn.Sequential(Branches(8), Branches(18)), 18)


def grouped() -> nn.Module:
    return Classifier(unit(3, 16, 3), nn.Sequential(Grouped(16, 4), Grouped(16, 4)), 16)


def _images() -> Tensor:
    return torch.randn(16, 3, 8, 8)


ARCHITECTURES = {
    "EfficientNet": Architecture(efficient, _images),
    "MobileNetV3": Architecture(mobile, _images),
    "ShuffleNetV2": Architecture(shuffled, _images),
    "DenseNet": Architecture(dense, _images),
    "Inception": Architecture(inception, _images),
    "RegNet": Architecture(grouped, _images),
    "YOLO": Architecture(Detector, _images),
    "U-Net": Architecture(UNet, _images),
}
"""The families by name; each net takes images `[B, 3, 8, 8]`."""
