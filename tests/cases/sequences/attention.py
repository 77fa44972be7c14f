"""Transformers as people write them: masks, fused projections, rotary positions, tied heads."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts


class SequenceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(16, 16, padding_idx=15)
        self.mix, self.norm = nn.MultiheadAttention(16, 4), nn.LayerNorm(16)
        self.feed = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens).transpose(0, 1)
        mixed, _ = self.mix(x, x, x, key_padding_mask=tokens == 15, need_weights=False)
        x = self.norm(x + mixed)
        return self.head((x + self.feed(x)).mean(0))


def attention_with_a_padding_mask() -> Parts:
    """Attention of torch with the sequence as its first axis, and texts with padding."""
    tokens, targets = parts.marked_texts(vocabulary=15)
    length = torch.randint(5, 11, (parts.COUNT, 1))
    padded = torch.where(torch.arange(10) < length, tokens, 15)
    return parts.task(SequenceFirst(), (padded, targets))


def encoder_of_torch() -> Parts:
    """The encoder of torch, which takes a path of its own in eval mode."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = nn.Sequential(nn.Embedding(16, 16), encoder, nn.Flatten(), nn.Linear(160, 4))
    return parts.task(model, parts.marked_texts(), steps=100)


class FusedAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.mT / key.shape[-1] ** 0.5).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).reshape(batch, length, width))


class VisionBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.attend = nn.LayerNorm(width), FusedAttention(width, 4)
        self.between = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.gain * self.attend(self.before(x))
        return x + self.feed(self.between(x))


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, stride=2)
        self.first = nn.Parameter(torch.zeros(1, 1, 16))
        self.places = nn.Parameter(0.1 * torch.randn(1, 17, 16))
        self.blocks = nn.Sequential(VisionBlock(16), VisionBlock(16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        x = torch.cat((self.first.expand(x.shape[0], -1, -1), x), 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


def vision_transformer() -> Parts:
    """A class token, learned positions, and query, key and value from one layer."""
    return parts.task(VisionTransformer(), parts.near_centres(3, 8, 8, noise=3.0))


class RootMeanSquare(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class GroupedQueries(nn.Module):
    """Causal attention with rotary positions, four query heads and two of keys and values."""

    def __init__(self, width: int, heads: int, shared: int) -> None:
        super().__init__()
        self.size, self.times = width // heads, heads // shared
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, shared * self.size, bias=False)
        self.value = nn.Linear(width, shared * self.size, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def heads_of(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.size).transpose(1, 2)

    def turned(self, x: Tensor) -> Tensor:
        half = self.size // 2
        speed = 10000.0 ** (-torch.arange(half, device=x.device) / half)
        angle = torch.arange(x.shape[2], device=x.device)[:, None] * speed
        one, two = x[..., :half], x[..., half:]
        cos, sin = angle.cos(), angle.sin()
        return torch.cat((one * cos - two * sin, two * cos + one * sin), -1)

    def forward(self, x: Tensor) -> Tensor:
        query, key = (
            self.turned(self.heads_of(self.query(x))),
            self.turned(self.heads_of(self.key(x))),
        )
        value = self.heads_of(self.value(x)).repeat_interleave(self.times, 1)
        key = key.repeat_interleave(self.times, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class DecoderBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.attend = RootMeanSquare(width), GroupedQueries(width, 4, 2)
        self.between = RootMeanSquare(width)
        self.gate, self.up = nn.Linear(width, 32, bias=False), nn.Linear(width, 32, bias=False)
        self.down = nn.Linear(32, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.before(x))
        y = self.between(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def next_token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def next_token_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return for each text how many of its tokens but the first are foretold."""
    return (outputs.argmax(-1) == targets).float()[:, 1:].mean(1)


def texts() -> tuple[Tensor, Tensor]:
    lines = parts.counting_texts()
    return lines[:, :-1], lines[:, 1:]


def decoder_with_grouped_queries() -> Parts:
    """Grouped queries, rotary positions and a gated feed-forward, as open language models have."""
    body = (nn.Embedding(24, 24), DecoderBlock(24), RootMeanSquare(24))
    model = nn.Sequential(*body, nn.Linear(24, 24, bias=False))
    return parts.task(model, texts(), loss=next_token_loss, score=next_token_right)


class Conv1D(nn.Module):
    """A linear layer that holds its weight transposed, as GPT-2 has."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(0.2 * torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return flat.view(*x.shape[:-1], self.nf)


class TransposedBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.before, self.between = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.three, self.out = Conv1D(3 * width, width), Conv1D(width, width)
        self.up, self.down = Conv1D(2 * width, width), Conv1D(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        triple = self.three(self.before(x)).chunk(3, -1)
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in triple)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.between(x))))


class TiedDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.place = nn.Embedding(24, 16), nn.Embedding(16, 16)
        self.block, self.norm = TransposedBlock(16, 2), nn.LayerNorm(16)
        self.head = nn.Linear(16, 24, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.block(self.table(tokens) + self.place(places))))


def transposed_layers_and_a_tied_head() -> Parts:
    """Linear layers with transposed weights, and a head that is the table of embeddings."""
    return parts.task(
        TiedDecoder(), texts(), loss=next_token_loss, score=next_token_right, steps=400
    )


CASES = (
    Case(task=attention_with_a_padding_mask),
    Case(task=encoder_of_torch),
    Case(task=vision_transformer),
    Case(task=decoder_with_grouped_queries),
    Case(task=transposed_layers_and_a_tied_head),
)
