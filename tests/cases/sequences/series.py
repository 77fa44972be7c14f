"""Convolutions along time, sequences of free length, and tables of embeddings."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tests.cases import parts
from tests.cases.case import Case, Parts


class GatedStep(nn.Module):
    def __init__(self, width: int, gap: int) -> None:
        super().__init__()
        self.gap, self.both = gap, weight_norm(nn.Conv1d(width, 2 * width, 2, dilation=gap))
        self.on, self.aside = weight_norm(nn.Conv1d(width, width, 1)), nn.Conv1d(width, 12, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, gate = self.both(F.pad(x, (self.gap, 0))).chunk(2, 1)
        y = value.tanh() * gate.sigmoid()
        return x + self.on(y), self.aside(y)


class Dilated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = weight_norm(nn.Conv1d(1, 12, 1))
        self.steps = nn.ModuleList(GatedStep(12, 2**k) for k in range(3))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(12, 16, 1), nn.ReLU(), nn.Conv1d(16, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.enter(x), torch.zeros(())
        for step in self.steps:
            x, aside = step(x)
            total = total + aside
        return self.head(total)


def labels_for_every_step() -> tuple[Tensor, Tensor]:
    """Return series `[N, 1, 16]`, and for each step which of four levels it had before noise."""
    levels = torch.randint(0, 4, (parts.COUNT, 4)).repeat_interleave(4, 1)
    return (levels + 0.4 * torch.randn(parts.COUNT, 16))[:, None], levels


def gated_dilated_convolutions() -> Parts:
    """Weight norm, gates and dilation along time; classes on axis 1 of outputs `[B, C, T]`."""
    return parts.task(Dilated(), labels_for_every_step())


class Forecast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 6))

    def forward(self, past: Tensor) -> Tensor:
        return self.body(past)


def forecast_of_several_steps() -> Parts:
    """Values `[B, T]`: the steps to come of a series, scored by their mean absolute error."""
    phase, pace = 6 * torch.rand(parts.COUNT, 1), 0.3 + torch.rand(parts.COUNT, 1)
    series = torch.sin(phase + pace * torch.arange(18)) + 0.05 * torch.randn(parts.COUNT, 18)
    return parts.task(
        Forecast(),
        (series[:, :12], series[:, 12:]),
        loss=F.l1_loss,
        score=lambda outputs, targets: (outputs - targets).abs().mean(1),
        maximize=False,
        steps=300,
    )


class Averaged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(16, 16)
        self.head = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.table(tokens).mean(1))


def texts_of_any_length() -> Parts:
    """Batches that differ in the length of their texts, which stays free in the file."""
    built = parts.task(Averaged(), parts.marked_texts(length=14))
    for name in parts.SAMPLES:
        lengths = (14, 9, 11, 6)
        cut = [(x[:, : lengths[n % 4]], y) for n, (x, y) in enumerate(built[name])]
        built[name] = cut
    return built


class WideTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3000, 8, sparse=True)
        self.body = nn.Sequential(nn.Linear(28, 24), nn.ReLU(), nn.Linear(24, 2))

    def forward(self, ids: Tensor, numbers: Tensor) -> Tensor:
        return self.body(torch.cat((self.table(ids).flatten(1), numbers), 1))


def sparse_gradients() -> Parts:
    """A large table of embeddings with sparse gradients, beside numbers; two named inputs."""
    ids, numbers = torch.randint(0, 3000, (parts.COUNT, 3)), torch.randn(parts.COUNT, 4)
    targets = ((ids % 2).sum(1) + numbers[:, 0] > 1.5).long()
    model = WideTable()
    model.table.sparse = False
    built = parts.task(
        model,
        ({"ids": ids, "numbers": numbers}, targets),
        step=lambda net, batch: F.cross_entropy(net(**batch[0]), batch[1]),
    )
    model.table.sparse = True
    return built


CASES = (
    Case(task=gated_dilated_convolutions),
    Case(task=forecast_of_several_steps),
    Case(task=texts_of_any_length),
    Case(task=sparse_gradients),
)
