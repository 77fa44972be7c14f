"""Convolutional nets whose code splits, joins, repeats or reorders the channels of maps."""

import torch
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts


def unit(inputs: int, outputs: int, size: int = 3, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Pooled(nn.Module):
    """A body with a linear head on the mean of its maps."""

    def __init__(self, width: int, *body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(*body), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


def images(model: nn.Module) -> Parts:
    return parts.task(model, parts.near_centres(3, 8, 8, noise=2.0))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(width, width), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def residual_blocks() -> Parts:
    """Two convolutions beside a shortcut, after which channels are added."""
    return images(Pooled(16, unit(3, 16), Residual(16), Residual(16)))


class Stages(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.enter, self.leave = unit(width, width, 1), unit(2 * width, width, 1)
        self.steps = nn.ModuleList(unit(half, half) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        kept, last = torch.split(self.enter(x), [x.shape[1] // 2] * 2, dim=1)
        found = [kept, last]
        for step in self.steps:
            found.append(step(found[-1]))
        return self.leave(torch.cat(found, dim=1))


def split_and_concatenated() -> Parts:
    """Half of the channels go on alone; all stages are concatenated, as in detection backbones."""
    return images(Pooled(16, unit(3, 16), Stages(16)))


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, x), 1)


def concatenated_with_itself() -> Parts:
    """One map concatenated with itself, so that each channel is two columns of a weight."""
    first = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.SiLU())
    return images(Pooled(16, first, Twice(), unit(24, 16, 1)))


class Denser(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, growth, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.layer(x), x], 1)


def densely_connected() -> Parts:
    """Every layer sees all earlier maps: concatenation within concatenation."""
    return images(Pooled(14, unit(3, 8), Denser(8, 6), unit(14, 8), Denser(8, 6)))


class GreatestOfTwo(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.one, self.two = unit(inputs, width), unit(inputs, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.one(x), self.two(x)], dim=1).amax(dim=1)


def greatest_of_stacked_maps() -> Parts:
    """Branches are stacked on an axis of their own and compete by their maximum."""
    return images(Pooled(12, GreatestOfTwo(3, 12), GreatestOfTwo(12, 12)))


class Gated(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, 2 * width, 1)
        self.deep = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.narrow = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.deep(self.wide(x)).chunk(2, dim=1)
        return x + self.narrow(value * torch.sigmoid(gate))


def halves_multiplied() -> Parts:
    """One half of the channels gates the other; a channel and its gate can only go together."""
    return images(Pooled(12, unit(3, 12), Gated(12)))


class Shuffled(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.work = nn.Sequential(unit(half, half, 1), unit(half, half, 3, groups=half))

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, 1)
        x = torch.cat([kept, self.work(worked)], 1)
        return x.unflatten(1, (2, x.shape[1] // 2)).transpose(1, 2).flatten(1, 2)


def shuffled_channels() -> Parts:
    """Half of the channels are worked on, then the channels change places in a fixed order."""
    return images(Pooled(16, unit(3, 16), Shuffled(16), Shuffled(16)))


CASES = (
    Case(task=residual_blocks),
    Case(task=split_and_concatenated),
    Case(task=concatenated_with_itself),
    Case(task=densely_connected),
    Case(task=greatest_of_stacked_maps),
    Case(task=halves_multiplied),
    Case(task=shuffled_channels),
)
