"""Recurrent networks: one layer, stacked, in both directions, and behind convolutions."""

import torch
from torch import Tensor, nn

from compressors.testing.data import CLASSES, TOKENS


class RecurrentNet(nn.Module):
    """An LSTM over sequences `[B, 8, 8]`."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, C]` of sequences `[B, 8, 8]`."""
        states, _ = self.lstm(x)
        logits: Tensor = self.head(states[:, -1])
        return logits


class StackedGRU(nn.Module):
    """Two layers in both directions over sequences `[B, 8, 8]`, read at their last states."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, C]` of sequences `[B, 8, 8]`."""
        _, last = self.gru(x)
        logits: Tensor = self.head(torch.cat([last[-2], last[-1]], 1))
        return logits


class StackedLSTM(nn.Module):
    """Embedded tokens `[B, 12]`, two LSTMs and a norm between them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 12)
        self.lower = nn.LSTM(12, 8, bidirectional=True, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.upper = nn.LSTM(16, 8, num_layers=2, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits `[B, C]` of tokens `[B, L]`."""
        states, _ = self.lower(self.embedding(tokens))
        states, _ = self.upper(self.norm(states))
        logits: Tensor = self.head(states.mean(1))
        return logits


class AudioNet(nn.Module):
    """Convolutions along signals `[B, 1, 32]`, then a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(1, 8, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Conv1d(8, 16, 3, stride=2, padding=1),
            nn.GroupNorm(2, 16),
            nn.ReLU(),
            nn.Conv1d(16, 16, 3, padding=1),
            nn.ReLU(),
        )
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, C]` of signals `[B, 1, 32]`."""
        states, _ = self.gru(self.convolutions(x).transpose(1, 2))
        logits: Tensor = self.head(states[:, -1])
        return logits
