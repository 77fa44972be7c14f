from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.channels.attention.headed_attention import HeadedAttention, SelfAttention
from compressors.channels.attention.heads import attention_heads
from compressors.channels.attention.replacement import replace_attention
from compressors.channels.cutting import cut_channels, zero_channels
from compressors.models.copying import copy_model
from compressors.models.fused_attention import plain_attention

WIDTH, HEADS = 12, 3


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [{}, {"kdim": 7, "vdim": 5}], ids=["one width", "three widths"])
def test_it_computes_what_torch_does(batch_first: bool, bias: bool, widths: dict) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(
                WIDTH, HEADS, batch_first=batch_first, bias=bias, **widths
            )

        def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return self.attention(query, key, value)[0]

    torch.manual_seed(0)
    model = Net().eval().requires_grad_(False)
    theirs = model.attention
    query = torch.randn(2, 4, WIDTH)
    key = torch.randn(2, 5, widths.get("kdim", WIDTH))
    value = torch.randn(2, 5, widths.get("vdim", WIDTH))
    inputs = (query, key, value)
    if not batch_first:
        inputs = tuple(x.transpose(0, 1).contiguous() for x in inputs)
    replace_attention(model, inputs)
    ours = model.attention
    assert isinstance(ours, HeadedAttention)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    masks = [None, torch.ones(4, 5, dtype=torch.bool).triu(2), torch.randn(2 * HEADS, 4, 5)]
    for mask in masks:
        for hidden in (None, padding if mask is None or mask.dtype == torch.bool else None):
            kwargs = {"attn_mask": mask, "key_padding_mask": hidden}
            for one, other in zip(ours(*inputs, **kwargs), theirs(*inputs, **kwargs), strict=True):
                torch.testing.assert_close(one, other)
    per_head = ours(*inputs, average_attn_weights=False)[1]
    torch.testing.assert_close(per_head, theirs(*inputs, average_attn_weights=False)[1])
    assert ours(*inputs, need_weights=False)[1] is None


@pytest.mark.parametrize("padded", [False, True])
def test_torch_encoders_run_with_it_and_without_heads(padded: bool) -> None:
    torch.manual_seed(0)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)

        def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
            out = self.encoder(x, src_key_padding_mask=hidden if padded else None)
            return out.masked_fill(hidden[..., None], 0)

    model = Encoder().eval().requires_grad_(False)
    hidden = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    inputs = (torch.randn(2, 6, 16), hidden)
    with plain_attention():  # torch warns of its nested tensors
        expected = model(*inputs)
    replaced = deepcopy(model)
    replace_attention(replaced, inputs)
    torch.testing.assert_close(replaced(*inputs), expected)
    for layer in range(2):
        path = f"encoder.layers.{layer}.self_attn"
        group = attention_heads(path, replaced.get_submodule(path))
        zeroed = deepcopy(replaced)
        chosen = torch.tensor([[0, 2, 3]])
        zero_channels(zeroed, [(group, chosen)])
        cut_channels(replaced, [(group, chosen)])
        torch.testing.assert_close(replaced(*inputs), zeroed(*inputs))
    assert replaced.encoder.layers[1].self_attn.num_heads == 1
    assert deepcopy(replaced)(*inputs).shape == expected.shape


class Fused(nn.Module):
    """Causal, with one layer for queries, keys and values, as in small language models."""

    def __init__(self) -> None:
        super().__init__()
        self.n_head, self.n_embd = HEADS, WIDTH
        self.c_attn, self.c_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            y.view(*y.shape[:2], self.n_head, -1).transpose(1, 2)
            for y in self.c_attn(x).split(self.n_embd, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(x.shape))


class Interleaved(Fused):
    """Rows of queries, keys and values one head after the other; not causal."""

    def forward(self, x: Tensor) -> Tensor:
        heads = self.c_attn(x).view(*x.shape[:2], self.n_head, 3, -1).permute(3, 0, 2, 1, 4)
        y = F.scaled_dot_product_attention(*heads)
        return self.c_proj(y.transpose(1, 2).reshape(x.shape))


class Separate(nn.Module):
    """Four layers without biases, the heads in another dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.inner = 2, 8
        self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, 8, bias=False) for _ in range(3))
        self.to_out = nn.Linear(8, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, 4)).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Unusual(Fused):
    """Scores without their usual scale, which `HeadedAttention` does not compute."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            y.view(*y.shape[:2], self.n_head, -1).transpose(1, 2)
            for y in self.c_attn(x).split(self.n_embd, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return self.c_proj(y.transpose(1, 2).reshape(x.shape))


@pytest.mark.parametrize(
    ("kind", "heads", "causal"),
    [(Fused, HEADS, True), (Interleaved, HEADS, False), (Separate, 2, False)],
)
def test_hand_written_attention_is_recognised_by_what_it_computes(
    kind: type[nn.Module], heads: int, causal: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(kind(), nn.Linear(WIDTH, 2)).eval().requires_grad_(False)
    x = torch.randn(3, 5, WIDTH)
    replaced = deepcopy(model)
    replace_attention(replaced, x)
    assert isinstance(replaced[0], SelfAttention)
    assert (replaced[0].attention.num_heads, replaced[0].causal) == (heads, causal)
    longer = torch.randn(2, 9, WIDTH)
    torch.testing.assert_close(replaced(longer), model(longer))
    group = attention_heads("0.attention", replaced[0].attention)
    zeroed = deepcopy(replaced)
    zero_channels(zeroed, [(group, torch.tensor([[0]]))])
    cut_channels(replaced, [(group, torch.tensor([[0]]))])
    assert replaced[0].attention.num_heads == heads - 1
    torch.testing.assert_close(replaced(longer), zeroed(longer))


def test_attention_that_computes_something_else_stays() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Unusual(), nn.Linear(WIDTH, 2)).eval().requires_grad_(False)
    replace_attention(model, torch.randn(3, 5, WIDTH))
    assert isinstance(model[0], Unusual)


def test_gradients_reach_every_projection() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Separate())
    replace_attention(model, torch.randn(2, 5, WIDTH))
    model.requires_grad_(True)
    model(torch.randn(2, 5, WIDTH)).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in model.parameters())


class TwiceTheSame(nn.Module):
    """Two blocks that hold one attention."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.MultiheadAttention(16, 4, batch_first=True)
        self.first = nn.ModuleDict({"attend": shared, "mix": nn.Linear(16, 16)})
        self.second = nn.ModuleDict({"attend": shared, "mix": nn.Linear(16, 16)})
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in (self.first, self.second):
            x = x + torch.relu(block["mix"](block["attend"](x, x, x, need_weights=False)[0]))
        return self.head(x.mean(1))


def test_attention_that_is_held_twice_stays_one() -> None:
    torch.manual_seed(0)
    model = TwiceTheSame().eval().requires_grad_(False)
    inputs = torch.randn(4, 5, 16)
    replaced = copy_model(model)
    replace_attention(replaced, inputs)
    assert replaced.first["attend"] is replaced.second["attend"]
    assert torch.allclose(replaced(inputs), model(inputs), atol=1e-5)
    count = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in replaced.parameters()) == count
