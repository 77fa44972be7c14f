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


class Joined(nn.Module):
    """A projection added to a second input, then normalised, as in BERT's output layers."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(inputs, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.norm(self.dense(x) + residual)


class PostNormLayer(nn.Module):
    """A layer whose first residual connection is in a module of its own, and second is not."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": Attention(), "output": Joined(8)})
        self.up, self.output = nn.Linear(8, 16), Joined(16)
        self.kind = "full"

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> tuple[Tensor, None]:
        hidden = self.attention["output"](self.attention["self"](hidden), hidden)
        return self.output(self.up(hidden).relu(), hidden), None


class Stack(nn.Module):
    def __init__(self, *, by_name: bool, reads: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PostNormLayer() for _ in range(3))
        self.pooler, self.head = nn.Linear(8, 8), nn.Linear(8, 2)
        self.by_name, self.reads = by_name, reads

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            assert layer.kind == "full"
            if self.reads:
                assert layer.up.in_features == 8
            x = (layer(mask=None, hidden=x) if self.by_name else layer(x))[0]
        return self.head(self.pooler(x[:, 0]).tanh())


@pytest.mark.parametrize("by_name", [False, True])
def test_post_norm_layers_that_return_tuples_are_whole_blocks(by_name: bool) -> None:
    torch.manual_seed(0)
    model, x = Stack(by_name=by_name).eval().requires_grad_(False), torch.randn(2, 6, 8)
    blocks = removable_blocks(model, x)
    assert names_of(model, blocks) == ["layers.0", "layers.1", "layers.2"]
    shorter = Stack(by_name=by_name).eval()
    shorter.load_state_dict(model.state_dict())
    del shorter.layers[1]
    model.layers[1] = blocks[model.layers[1]]
    assert torch.equal(model(x), shorter(x))


def test_a_block_that_the_code_reads_into_stays() -> None:
    model = Stack(by_name=False, reads=True).eval().requires_grad_(False)
    found = names_of(model, removable_blocks(model, torch.randn(2, 6, 8)))
    assert not any(name.count(".") == 1 for name in found)
