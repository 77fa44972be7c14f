"""Small networks of every kind that a compressor must take, and data they can learn."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import batch_size
from tests.architectures import (
    CLASSES,
    TOKENS,
    AudioNet,
    SharedNet,
    StackedGRU,
    StackedLSTM,
    TextNet,
    TwoInputNet,
    VisionTransformer,
)

SAMPLES = 256
BATCH = 64


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
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
        return self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))


class InvertedResidual(nn.Module):
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
        return x + self.body(x)


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
        return self.head(self.blocks(self.stem(x)))


class TransformerNet(nn.Module):
    """A transformer encoder over tokens `[B, 12]` of 20 kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


class RecurrentNet(nn.Module):
    """An LSTM over sequences `[B, 8, 8]`."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.head(states[:, -1])


def mlp() -> nn.Module:
    """A perceptron over vectors `[B, 16]` with a square hidden layer."""
    return nn.Sequential(
        nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, CLASSES)
    )


def _seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make().eval().requires_grad_(False)

    return build


NETS: dict[str, Callable[[], nn.Module]] = {
    "residual": _seeded(ResidualNet),
    "depthwise": _seeded(DepthwiseNet),
    "transformer": _seeded(TransformerNet),
    "recurrent": _seeded(RecurrentNet),
    "mlp": _seeded(mlp),
}
"""Each builds one network, always with the same weights, untrained, in eval mode and frozen."""

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = NETS | {
    "vision": _seeded(VisionTransformer),
    "text": _seeded(TextNet),
    "gru": _seeded(StackedGRU),
    "lstm": _seeded(StackedLSTM),
    "audio": _seeded(AudioNet),
    "shared": _seeded(SharedNet),
    "positional": _seeded(TwoInputNet),
    "named": _seeded(TwoInputNet),
}
"""Every architecture that a compressor must take."""

_IMAGE, _SEQUENCE, _VECTOR, _SIGNAL = (1, 8, 8), (8, 8), (16,), (1, 32)
_SHAPES = {
    "residual": _IMAGE,
    "depthwise": _IMAGE,
    "vision": _IMAGE,
    "recurrent": _SEQUENCE,
    "gru": _SEQUENCE,
    "audio": _SIGNAL,
}


def take(inputs: Inputs, chosen: Tensor | slice) -> Inputs:
    """Return the chosen samples of a batch of any form."""
    if isinstance(inputs, Tensor):
        return inputs[chosen]
    if isinstance(inputs, Mapping):
        return {name: tensor[chosen] for name, tensor in inputs.items()}
    return tuple(tensor[chosen] for tensor in inputs)


class ToyTask:
    """Samples around one prototype a class, which a network learns in a few epochs."""

    def __init__(self, baseline: nn.Module, inputs: Inputs, targets: Tensor) -> None:
        self.baseline = baseline
        self.inputs = inputs
        self.targets = targets
        self.example = take(inputs, slice(4))
        with torch.no_grad():
            self.logits: Tensor = run(baseline, inputs)

    def train_batches(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        for chosen in self._order(epoch):
            yield take(self.inputs, chosen), self.targets[chosen]

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Inputs, Tensor, Tensor]]:
        for chosen in self._order(epoch):
            yield take(self.inputs, chosen), self.targets[chosen], self.logits[chosen]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    def measured(
        self, key: str, measure: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        return measure()

    def _order(self, epoch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(epoch)
        return torch.randperm(batch_size(self.inputs), generator=generator).split(BATCH)


def toy_task(net_name: str) -> ToyTask:
    """Return the data that fits a network of the zoo, with this network as the baseline."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.arange(SAMPLES) % CLASSES
    return ToyTask(ARCHITECTURES[net_name](), _inputs(net_name, targets, generator), targets)


def _inputs(net_name: str, targets: Tensor, generator: torch.Generator) -> Inputs:
    if net_name in ("transformer", "text", "lstm"):
        return _tokens(targets, generator)
    if net_name in ("positional", "named"):
        both = _tokens(targets, generator), _near_prototypes(_VECTOR, targets, generator)
        return both if net_name == "positional" else {"vector": both[1], "tokens": both[0]}
    return _near_prototypes(_SHAPES.get(net_name, _VECTOR), targets, generator)


def _tokens(targets: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randint(0, TOKENS, (SAMPLES, 12), generator=generator)
    marked = torch.rand(SAMPLES, 12, generator=generator) < 0.5
    return torch.where(marked, targets[:, None], noise)


def _near_prototypes(shape: tuple[int, ...], targets: Tensor, generator: torch.Generator) -> Tensor:
    prototypes = torch.randn(CLASSES, *shape, generator=generator)
    return prototypes[targets] + 0.5 * torch.randn(SAMPLES, *shape, generator=generator)
