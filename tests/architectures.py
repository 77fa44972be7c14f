"""Small networks of the kinds that need rules of their own in cutting channels or in exporting."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

CLASSES = 4
TOKENS = 20


class HandWrittenAttention(nn.Module):
    """As in most published code: one layer for queries, keys and values, and a reshape to heads."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (width // num_heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = self.qkv(x).reshape(batch, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q * self.scale @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


class VisionBlock(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = HandWrittenAttention(width, num_heads)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class VisionTransformer(nn.Module):
    """A hand-written encoder over patches of images `[B, 1, 8, 8]`, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 5, 16))
        self.blocks = nn.Sequential(VisionBlock(16, 4), VisionBlock(16, 4))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class TextNet(nn.Module):
    """The mean of embeddings of tokens `[B, 12]`, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 16)
        self.hidden = nn.Linear(16, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.hidden(self.embedding(tokens).mean(1)).relu())


class StackedGRU(nn.Module):
    """Two layers in both directions over sequences `[B, 8, 8]`, read at their last states."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        _, last = self.gru(x)
        return self.head(torch.cat([last[-2], last[-1]], 1))


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
        states, _ = self.lower(self.embedding(tokens))
        states, _ = self.upper(self.norm(states))
        return self.head(states.mean(1))


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
        states, _ = self.gru(self.convolutions(x).transpose(1, 2))
        return self.head(states[:, -1])


class SharedNet(nn.Module):
    """Vectors `[B, 16]` through one block twice and two layers that share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.block = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 16))
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu())
        x = x + self.block(x)
        return self.head(x + self.block(x))


class TwoInputNet(nn.Module):
    """Tokens `[B, 12]` and vectors `[B, 16]`, by position or by name."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 8)
        self.vector = nn.Linear(16, 8)
        self.joint = nn.Linear(16, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor, vector: Tensor) -> Tensor:
        words = self.embedding(tokens).mean(1)
        both = torch.cat([words, self.vector(vector).relu()], 1)
        return self.head(self.joint(both).relu())
