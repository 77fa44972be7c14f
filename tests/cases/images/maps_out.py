"""Convolutional nets that answer with maps, images or boxes."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.images.joined_maps import unit

SIZE = 12


def discs() -> tuple[Tensor, Tensor]:
    """Return images `[N, 1, 12, 12]` with two discs of unlike brightness, and the class a place."""
    grid = torch.arange(SIZE)
    centre = torch.randint(3, 9, (parts.COUNT, 2, 2))
    rows = (grid[:, None] - centre[:, :, 0, None, None]) ** 2
    columns = (grid - centre[:, :, 1, None, None]) ** 2
    inside = rows + columns < torch.randint(3, 12, (parts.COUNT, 2, 1, 1))
    labels = torch.where(inside[:, 1], 2, inside[:, 0].long())
    brightness = torch.tensor([0.0, 1.0, -1.0])[labels][:, None]
    return brightness + 0.6 * torch.randn(parts.COUNT, 1, SIZE, SIZE), labels


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.high, self.middle, self.low = unit(1, 8), unit(8, 12), unit(12, 16)
        self.up_low = nn.ConvTranspose2d(16, 12, 2, stride=2)
        self.up_middle = nn.ConvTranspose2d(12, 8, 2, stride=2)
        self.back_middle, self.back_high = unit(24, 12), unit(16, 8)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.high(x)
        middle = self.middle(F.max_pool2d(high, 2))
        low = self.low(F.max_pool2d(middle, 2))
        middle = self.back_middle(torch.cat([self.up_low(low), middle], 1))
        return self.head(self.back_high(torch.cat([self.up_middle(middle), high], 1)))


def mean_overlap(outputs: Tensor, targets: Tensor) -> float:
    """Return the mean over classes of intersection over union, one number for all images."""
    found, shares = outputs.argmax(1), []
    for number in range(3):
        both = ((found == number) & (targets == number)).sum()
        either = ((found == number) | (targets == number)).sum()
        shares.append(float(both / either.clamp(min=1)))
    return sum(shares) / len(shares)


def u_net() -> Parts:
    """A U-Net with concatenated skips; classes on axis 1 of maps, scored by mean overlap."""
    return parts.task(UNet(), discs(), score=mean_overlap, steps=120)


def waves() -> tuple[Tensor, Tensor]:
    """Return noisy waves `[N, 1, 12, 12]`, and the clean ones."""
    grid, phase = torch.arange(float(SIZE)), 6 * torch.rand(parts.COUNT, 2, 1, 1)
    clean = torch.sin(0.7 * grid[:, None] + phase[:, :1]) * torch.cos(0.5 * grid + phase[:, 1:])
    return clean + 0.4 * torch.randn_like(clean), clean


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Sequential(unit(1, 12), unit(12, 12)), nn.Conv2d(12, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x - self.last(self.body(x))


def signal_to_noise(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return for each image the signal-to-noise ratio in dB."""
    return -10 * torch.log10(parts.squared_error(outputs, targets) + 1e-8)


def one_channel_out() -> Parts:
    """An image restorer with one input and one output channel, which is no depthwise layer."""
    return parts.task(Denoiser(), waves(), loss=F.mse_loss, score=signal_to_noise)


def pixel_shuffle() -> Parts:
    """Twice the resolution by PixelShuffle, in the middle of the net and at its end."""
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 32, 3, padding=1),
        nn.PixelShuffle(2),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=1),
        nn.PixelShuffle(2),
    )
    _, fine = waves()
    coarse = F.avg_pool2d(fine, 4)
    return parts.task(model, (coarse, fine), loss=F.mse_loss, score=signal_to_noise)


class Detector(nn.Module):
    """One head over two scales, whose classes and boxes are joined to `[B, places, 3 + 2]`."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.SiLU())
        self.coarse = nn.Sequential(nn.Conv2d(12, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.SiLU())
        self.tower = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.SiLU())
        self.kinds, self.boxes = nn.Conv2d(12, 3, 1), nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = self.coarse(fine)
        fine = fine + F.interpolate(coarse, scale_factor=2.0)
        towers = [self.tower(level) for level in (fine, coarse)]
        found = [torch.cat([self.kinds(t), self.boxes(t)], 1).flatten(2) for t in towers]
        return torch.cat(found, 2).transpose(1, 2)


def spots() -> tuple[Tensor, Tensor]:
    """Return images with one bright or dark spot, and for 45 places the class and the offset."""
    kind, place = torch.randint(1, 3, (parts.COUNT,)), torch.randint(0, SIZE, (parts.COUNT, 2))
    rows = torch.arange(parts.COUNT)
    images = 0.3 * torch.randn(parts.COUNT, 1, SIZE, SIZE)
    images[rows, 0, place[:, 0], place[:, 1]] += torch.where(kind == 1, 3.0, -3.0)
    targets = torch.zeros(parts.COUNT, 45, 3)
    for size, start in ((6, 0), (3, 36)):
        cell = place * size // SIZE
        index = start + cell[:, 0] * size + cell[:, 1]
        targets[rows, index, 0] = kind.float()
        targets[rows, index, 1:] = place / SIZE
    return images, targets


def detection_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    kinds = targets[..., 0].long()
    away = (outputs[..., 3:] - targets[..., 1:]).abs().mean(-1)
    return F.cross_entropy(outputs[..., :3].mT, kinds) + (away * (kinds > 0)).mean()


def places_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return for each image the share of places whose class is right."""
    return (outputs[..., :3].argmax(-1) == targets[..., 0]).float().mean(1)


def detection_head() -> Parts:
    """A detector: one head over two scales, classes and boxes in one output."""
    return parts.task(Detector(), spots(), loss=detection_loss, score=places_right)


CASES = (
    Case(task=u_net),
    Case(task=one_channel_out),
    Case(task=pixel_shuffle),
    Case(task=detection_head),
)
