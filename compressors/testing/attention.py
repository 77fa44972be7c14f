"""Networks with attention: the encoder of torch, and one written by hand."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.testing.data import CLASSES


class TransformerNet(nn.Module):
    """A transformer encoder over tokens `[B, 12]` of 20 kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits `[B, C]` of tokens `[B, L]`."""
        logits: Tensor = self.head(self.encoder(self.embedding(tokens)).mean(1))
        return logits


class HandWrittenAttention(nn.Module):
    """One layer for queries, keys and values and a reshape to heads, as in most published code."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (width // num_heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return mixed states `[B, L, W]` of states `[B, L, W]`."""
        batch, length, width = x.shape
        heads = self.qkv(x).reshape(batch, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = (q * self.scale @ k.transpose(-2, -1)).softmax(-1) @ v
        states: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return states


class VisionBlock(nn.Module):
    """Attention, then a feed-forward part, each behind a norm and around a skip connection."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = HandWrittenAttention(width, num_heads)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return states `[B, L, W]` of the shape of `x`."""
        x = x + self.attention(self.norm1(x))
        states: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return states


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
        """Return logits `[B, C]` of images `[B, 1, 8, 8]`."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return logits
