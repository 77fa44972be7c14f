"""Two layers as good as the best approximation of one."""

import pytest
import torch
from torch import nn

from compressors.layers.factors import factorised, factors_of
from compressors.layers.ranks import saving_rank
from tests.compressors.layers.decaying import normal

LAYERS = {
    "linear": (nn.Linear(12, 7), (5, 12)),
    "no bias": (nn.Linear(7, 12, bias=False), (5, 3, 7)),
    "double": (nn.Linear(7, 12).double(), (5, 7)),
    "convolution": (nn.Conv2d(4, 6, 3, padding=1, stride=2), (2, 4, 9, 8)),
    "dilated": (nn.Conv2d(4, 6, (3, 2), dilation=2, bias=False), (2, 4, 9, 8)),
    "reflecting": (nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"), (2, 4, 9, 8)),
    "over time": (nn.Conv1d(4, 16, 5), (2, 4, 9)),
    "volumes": (nn.Conv3d(2, 6, 2), (1, 2, 4, 4, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_at_full_rank_two_layers_are_the_one(name: str) -> None:
    layer, shape = LAYERS[name]
    found = factors_of(layer)
    pair = factorised(layer, found, len(found.values))
    inputs = normal(*shape).to(layer.weight.dtype)
    torch.testing.assert_close(pair(inputs), layer(inputs), rtol=1e-4, atol=1e-5)
    assert all(type(half) is type(layer) for half in pair)
    assert all(half.weight.dtype == layer.weight.dtype for half in pair)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rank", [1, 3])
def test_the_error_is_that_of_the_singular_values_left_out(name: str, rank: int) -> None:
    layer, _ = LAYERS[name]
    pair = factorised(layer, factors_of(layer), rank)
    left, right = pair[1].weight.flatten(1), pair[0].weight.flatten(1)
    matrix = layer.weight.flatten(1)
    left_out = torch.linalg.svdvals(matrix)[rank:]
    error = (matrix - left @ right).square().sum()
    torch.testing.assert_close(error, left_out.square().sum(), rtol=1e-4, atol=1e-6)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(left @ right, u[:, :rank] * s[:rank] @ v[:rank])
    assert factors_of(layer).size(rank) == sum(half.weight.numel() for half in pair)


def test_the_rank_is_the_least_that_keeps_the_energy() -> None:
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([8.0, 4.0, 4.0, 2.0]).sqrt()))
    found = factors_of(layer)
    energies = [0.01, 4 / 9, 0.45, 6 / 9, 8 / 9, 0.9, 1.0]
    assert [found.rank(energy) for energy in energies] == [1, 1, 2, 2, 3, 4, 4]
    assert saving_rank(found, 0.4) == 1
    assert saving_rank(found, 0.6) is None  # 2 * (4 + 4) weights are no fewer than 16
    assert saving_rank(found, 1.0) is None
