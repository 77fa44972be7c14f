"""Cutting channels equals holding them at zero, whatever they are coupled to."""

import pytest
import torch
from torch import nn

from compressors.base import run
from compressors.channels.attention.replacement import replace_attention
from compressors.channels.cutting import cut_channels, zero_channels
from compressors.channels.discovery import find_channel_groups
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
