"""Heads of attention that a model computes in its own code, in any arrangement of its layers."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.channels.attention.projected import projected_attention
from compressors.channels.cutting import cut_channels, zero_channels
from compressors.channels.discovery import find_channel_groups

WIDTH, HEADS = 12, 3


class SplitAttention(nn.Module):
    """Queries, keys and values only, the heads written into integers, as in transformers' BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.num_attention_heads, self.head_size = HEADS, WIDTH // HEADS
        self.all_head_size = WIDTH
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        shape = (*x.shape[:2], self.num_attention_heads, self.head_size)
        q, k, v = (m(x).view(shape).transpose(1, 2) for m in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, scale=0.3).transpose(1, 2)
        return y.reshape(*x.shape[:2], self.all_head_size), None


class SplitNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.dense = SplitAttention(), nn.Linear(WIDTH, WIDTH)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x + self.dense(self.attention(x)[0])).mean(1))


def test_heads_are_cut_where_the_output_layer_is_elsewhere() -> None:
    torch.manual_seed(0)
    model = SplitNet().eval().requires_grad_(False)
    x = torch.randn(3, 5, WIDTH)
    (group,) = find_channel_groups(model, x).groups
    assert (group.name, group.size, group.width) == ("attention", HEADS, WIDTH // HEADS)
    zeroed = deepcopy(model)
    zero_channels(zeroed, [(group, torch.tensor([[1]]))])
    cut_channels(model, [(group, torch.tensor([[1]]))])
    torch.testing.assert_close(model(x), zeroed(x))
    assert (model.attention.num_attention_heads, model.attention.all_head_size) == (2, 8)
    assert model.dense.in_features == 8


def test_three_layers_that_are_no_attention_are_not_taken_for_it() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.up, self.down = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.down(self.gate(x).sigmoid() * self.up(x))

    model = nn.Sequential(Gated(), nn.Linear(WIDTH, 2)).eval().requires_grad_(False)
    found = find_channel_groups(model, torch.randn(3, 5, WIDTH))
    assert [group.name for group in found.groups] == ["0.gate", "0.down"]
    assert all(group.width == 1 for group in found.groups)


class GroupedAttention(nn.Module):
    """Rotary positions, and queries that share keys and values, as in Llama."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.head_dim, self.groups = 4, 3
        widths = (24, 12, 12) if not fused else (48,)
        for number, width in enumerate(widths):
            self.add_module(f"in_{number}", nn.Linear(WIDTH, width))
        self.out = nn.Linear(24, WIDTH)

    def forward(self, *, hidden: Tensor) -> tuple[Tensor, None]:
        parts = [m(hidden) for name, m in self.named_children() if name.startswith("in_")]
        if len(parts) == 1:
            keys = parts[0].shape[-1] // 4
            parts = list(parts[0].split([2 * keys, keys, keys], -1))
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in parts)
        angle = torch.arange(hidden.shape[1])[:, None] * torch.tensor([1.0, 0.1, 1.0, 0.1])
        q, k = (x * angle.cos() + self._turned(x) * angle.sin() for x in (q, k))
        k, v = (x.repeat_interleave(2, 1) for x in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        return self.out(y.flatten(2)), None

    @staticmethod
    def _turned(x: Tensor) -> Tensor:
        return torch.cat([-x[..., 2:], x[..., :2]], -1)


class GroupedNet(nn.Module):
    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.attention = GroupedAttention(fused=fused)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x + self.attention(hidden=x)[0]).mean(1))


@pytest.mark.parametrize("fused", [False, True])
def test_heads_that_share_keys_go_together(fused: bool) -> None:
    torch.manual_seed(0)
    model = GroupedNet(fused=fused).eval().requires_grad_(False)
    x = torch.randn(3, 5, WIDTH)
    attention = projected_attention(model, x, model.attention)
    assert attention is not None
    assert (attention.groups, attention.heads, attention.out) == (3, 6, "out")
    groups = {group.name: group for group in find_channel_groups(model, x).groups}
    group = groups["attention"]
    assert (group.size, group.width) == (3, 8)
    zeroed = deepcopy(model)
    zero_channels(zeroed, [(group, torch.tensor([[1]]))])
    cut_channels(model, [(group, torch.tensor([[1]]))])
    torch.testing.assert_close(model(x), zeroed(x))
    assert model.attention.out.in_features == 16
    assert model.attention.groups == 2


class BiasedAttention(nn.Module):
    """A bias for each head, handed on to the next layer, as in T5."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.n_heads, self.width = HEADS, WIDTH // HEADS
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.table = nn.Embedding(5, HEADS) if first else None

    def forward(self, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.table is not None:
            steps = torch.arange(x.shape[1])
            bias = self.table((steps[:, None] - steps).abs()).permute(2, 0, 1)[None]
        heads = (m(x).unflatten(-1, (-1, self.width)).transpose(1, 2) for m in (self.q, self.k))
        q, k = heads
        v = self.v(x).unflatten(-1, (-1, self.width)).transpose(1, 2)
        y = (q @ k.mT + bias).softmax(-1) @ v
        return self.o(y.transpose(1, 2).flatten(2)), bias


class BiasedNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = BiasedAttention(first=True), BiasedAttention(first=False)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        y, bias = self.first(x, None)
        y, _ = self.second(x + y, bias)
        return self.head(self.norm(y).mean(1))


def test_layers_that_share_a_bias_lose_the_same_heads() -> None:
    torch.manual_seed(0)
    model, x = BiasedNet().eval().requires_grad_(False), torch.randn(3, 5, WIDTH)
    found = find_channel_groups(model, x)
    (group,) = [group for group in found.groups if group.size == HEADS]
    zeroed = deepcopy(model)
    zero_channels(zeroed, [(group, torch.tensor([[1]]))])
    cut_channels(model, [(group, torch.tensor([[1]]))])
    torch.testing.assert_close(model(x), zeroed(x))
    assert model.first.table.weight.shape == (5, HEADS - 1)
    assert model.second.o.in_features == model.first.o.in_features == 8
