"""Cutting channels equals holding them at zero, whatever they are coupled to."""

import pytest
import torch
from torch import nn

from compressors.base import run
from compressors.channels.attention.replacement import replace_attention
from compressors.channels.cutting import cut_channels, zero_channels
from compressors.channels.discovery import find_channel_groups
from compressors.channels.width_attributes import following_norms
from compressors.models.copying import copy_model
from tests.zoo import ARCHITECTURES, toy_task

NORMS = nn.LayerNorm | nn.GroupNorm


def normalised(model: nn.Module, tensors: set[str]) -> bool:
    """Tell whether any of the tensors belongs to a norm over channels, which a cut changes."""
    return any(isinstance(model.get_submodule(t.rpartition(".")[0]), NORMS) for t in tensors)


@pytest.mark.parametrize("net", ARCHITECTURES)
def test_cut_channels_computed_as_if_they_were_zero(net: str) -> None:
    task = toy_task(net)
    replaced = copy_model(task.baseline)
    replace_attention(replaced, task.example)
    compared = 0
    for group in find_channel_groups(replaced, task.example).groups:
        if normalised(replaced, {part.tensor for part in group.slices}):
            continue
        generator = torch.Generator().manual_seed(0)
        order = torch.stack(
            [torch.randperm(group.size, generator=generator) for _ in range(group.parts)]
        )
        chosen = order[:, : group.size // 2]
        zeroed, smaller = copy_model(replaced), copy_model(replaced)
        zero_channels(zeroed, [(group, chosen)])
        cut_channels(smaller, [(group, chosen)])
        with torch.no_grad():
            expected, found = run(zeroed, task.inputs), run(smaller, task.inputs)
        torch.testing.assert_close(found, expected)
        assert not torch.equal(expected, task.logits)
        lost = sum(p.numel() for p in replaced.parameters())
        lost -= sum(p.numel() for p in smaller.parameters())
        share = (group.size // 2) / group.size
        assert 0 < lost <= share * group.weights(replaced)
        compared += 1
    assert compared > 0


def halved(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """Return a model without half the channels of every group; the model is not changed."""
    smaller = copy_model(model)
    groups = find_channel_groups(smaller, example).groups
    assert groups
    cut_channels(smaller, [(g, torch.arange(g.size // 2).repeat(g.parts, 1)) for g in groups])
    return smaller


def test_a_module_with_two_names_is_cut_once() -> None:
    slope = nn.PReLU(8)
    layers = [nn.Linear(6, 8), slope, nn.Linear(8, 8), slope, nn.Linear(8, 3)]
    smaller = halved(nn.Sequential(*layers).eval().requires_grad_(False), torch.randn(2, 6))
    assert smaller[1] is smaller[3]
    assert smaller[1].num_parameters == smaller[0].out_features == smaller[2].out_features == 4
    assert smaller(torch.randn(2, 6)).shape == (2, 3)


def test_norms_without_tensors_take_the_width_that_they_are_given() -> None:
    body = [nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)]
    model, example = nn.Sequential(*body).eval().requires_grad_(False), torch.randn(2, 3, 4, 4)
    smaller = halved(model, example)
    with following_norms(smaller):
        smaller(example)
    assert smaller[1].num_features == 4
    assert smaller(example).shape == (2, 3)  # without the warning of another width
