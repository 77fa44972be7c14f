"""Outputs that are no classes: values, labels, embeddings, one number for each sample."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts


def dense(inputs: int, outputs: int, hidden: int = 32) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs),
    )


class Lone(nn.Module):
    """Returns one number for each sample, `[B]`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = dense(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


def one_value_for_a_sample() -> Parts:
    """A regression whose outputs and targets are `[B]`."""
    x = torch.randn(parts.COUNT, 8)
    y = 3 * x[:, 0] + x[:, 1] * x[:, 2] + 5
    return parts.task(
        Lone(),
        (x, y),
        loss=F.mse_loss,
        score=lambda outputs, targets: (outputs - targets).square(),
        maximize=False,
        steps=400,
    )


def many_values() -> Parts:
    """A regression of six values with levels of their own, which no softmax may forget."""
    x = torch.randn(parts.COUNT, 10)
    y = x @ torch.randn(10, 6) + 4 * torch.arange(6.0)
    return parts.task(
        dense(10, 6),
        (x, y),
        loss=F.mse_loss,
        score=parts.squared_error,
        maximize=False,
        steps=500,
    )


def several_labels() -> Parts:
    """Independent labels, each a decision of its own, as logits."""
    x = torch.randn(parts.COUNT, 12)
    y = (x @ torch.randn(12, 6) > 0.5).float()
    return parts.task(
        dense(12, 6),
        (x, y),
        loss=F.binary_cross_entropy_with_logits,
        score=lambda outputs, targets: ((outputs > 0) == (targets > 0.5)).float().mean(1),
        steps=250,
    )


class WideAndDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(
            nn.Linear(20, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 1)
        )
        self.wide, self.join = nn.Linear(20, 3), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(x.shape[0], -1)
        return torch.sigmoid(self.join(torch.cat([self.wide(x), self.deep(x)], -1)))


def one_probability() -> Parts:
    """One column of probabilities behind a sigmoid, from a wide and a deep branch."""
    x = torch.randn(parts.COUNT, 4, 5)
    y = (x[:, 0].sum(1) + 2 * x[:, 1, 0] * x[:, 2, 0] > 0).float()[:, None]
    return parts.task(
        WideAndDeep(),
        (x, y),
        loss=F.binary_cross_entropy,
        score=lambda outputs, targets: ((outputs > 0.5) == (targets > 0.5)).float()[:, 0],
        steps=250,
    )


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.head(self.body(x).mean((2, 3))), dim=1)


def contrast(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of embeddings by which of the others in the batch are of their class."""
    others = ~torch.eye(len(outputs), dtype=torch.bool)
    alike = (outputs @ outputs.T / 0.2).masked_fill(~others, -1e4)
    same = (targets[:, None] == targets) & others
    return -((alike.log_softmax(1) * same).sum(1) / same.sum(1).clamp(min=1)).mean()


def nearest_is_alike(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return for each sample whether the nearest other one is of its class."""
    alike = outputs @ outputs.T - 9 * torch.eye(len(outputs))
    return (targets[alike.argmax(1)] == targets).float()


def embeddings() -> Parts:
    """Embeddings of unit length, compared with each other; there are no classes at all."""
    data = parts.near_centres(1, 8, 8, classes=5)
    return parts.task(Embedding(), data, loss=contrast, score=nearest_is_alike)


class LogProbabilities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = dense(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).log_softmax(1)


def log_probabilities() -> Parts:
    """Log-probabilities with nll_loss instead of logits with cross-entropy."""
    return parts.task(LogProbabilities(), parts.near_centres(16, noise=2.0), loss=F.nll_loss)


CASES = (
    Case(task=one_value_for_a_sample),
    Case(task=many_values),
    Case(task=several_labels),
    Case(task=one_probability),
    Case(task=embeddings),
    Case(task=log_probabilities),
)
