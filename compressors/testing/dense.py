"""Networks of linear layers and embeddings: plain, with shared weights, with two inputs."""

import torch
from torch import Tensor, nn

from compressors.testing.data import CLASSES, TOKENS


class TextNet(nn.Module):
    """The mean of embeddings of tokens `[B, 12]`, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 16)
        self.hidden = nn.Linear(16, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits `[B, C]` of tokens `[B, L]`."""
        logits: Tensor = self.head(self.hidden(self.embedding(tokens).mean(1)).relu())
        return logits


class SharedNet(nn.Module):
    """Vectors `[B, 16]` through one block twice and two layers that share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.block = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 16))
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, C]` of vectors `[B, 16]`."""
        x = self.second(self.first(x).relu())
        x = x + self.block(x)
        logits: Tensor = self.head(x + self.block(x))
        return logits


class TwoInputNet(nn.Module):
    """Tokens `[B, 12]` and vectors `[B, 16]`, by position or by name."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 8)
        self.vector = nn.Linear(16, 8)
        self.joint = nn.Linear(16, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor, vector: Tensor) -> Tensor:
        """Return logits `[B, C]` of tokens `[B, L]` and vectors `[B, 16]`."""
        words = self.embedding(tokens).mean(1)
        both = torch.cat([words, self.vector(vector).relu()], 1)
        logits: Tensor = self.head(self.joint(both).relu())
        return logits


def perceptron() -> nn.Module:
    """Return a perceptron over vectors `[B, 16]` with a square hidden layer."""
    return nn.Sequential(
        nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, CLASSES)
    )
