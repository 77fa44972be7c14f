"""Heads of attention whose output layer is in another module."""

from copy import deepcopy

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

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
