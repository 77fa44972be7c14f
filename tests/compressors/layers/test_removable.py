"""Which blocks keep the shape of their input, and which of nested ones are taken."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from compressors.layers.removable import removable_blocks
from tests.zoo import NETS, toy_task


def names_of(model: nn.Module, blocks: Iterable[nn.Module]) -> list[str]:
    found = list(blocks)
    return [name for name, module in model.named_modules() if module in found]


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        ("residual", ["blocks.0", "blocks.1", "blocks.2"]),
        ("depthwise", ["blocks.0", "blocks.1"]),
        ("transformer", ["encoder.layers.0", "encoder.layers.1", "encoder.layers.2"]),
        ("mlp", ["2"]),
        ("recurrent", []),
    ],
)
def test_removable_blocks_are_whole_blocks(net: str, expected: list[str]) -> None:
    model = NETS[net]()
    assert names_of(model, removable_blocks(model, toy_task(net).example)) == expected


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out((q @ k.mT).softmax(-1) @ v)


class PreNormBlock(nn.Module):
    """Two composite parts inside one residual block, as vision transformers are written."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = Attention()
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """A stack behind an addition, which is no way around the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(6, 8), requires_grad=False)
        self.blocks = nn.Sequential(PreNormBlock(), PreNormBlock())
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.blocks(x + self.position))


def test_a_residual_block_goes_as_a_whole_and_a_stack_block_by_block() -> None:
    model = nn.Sequential(Encoder(), nn.Flatten(), nn.Linear(48, 4)).eval().requires_grad_(False)
    blocks = removable_blocks(model, torch.randn(2, 6, 8))
    assert names_of(model, blocks) == ["0.blocks.0", "0.blocks.1"]


def test_a_block_called_twice_stays() -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model = nn.Sequential(block, block, nn.Linear(4, 2)).eval().requires_grad_(False)
    assert removable_blocks(model, torch.randn(2, 4)) == {}
