"""Cutting channels equals holding them at zero, whatever they are coupled to."""

import pytest
import torch
from torch import Tensor, nn

from compressors.base import run
from compressors.channels.attention_replacement import replace_attention
from compressors.channels.cutting import cut_channels, zero_channels
from compressors.channels.discovery import find_channel_groups
from compressors.channels.verification import is_sound
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


def test_a_reshape_that_mixes_channels_is_found_out() -> None:
    class Mixing(nn.Module):
        """Reads the channels in another order than they are written in."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            return self.second(y.view(len(x), 2, -1).transpose(1, 2).flatten(1))

    torch.manual_seed(0)
    model = Mixing().eval().requires_grad_(False)
    example = torch.randn(4, 4)
    found = find_channel_groups(model, example)
    assert found.groups == ()
    assert "written into the model's code" in found.skipped_layers["first"]


def test_soundness_is_about_the_outputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)).eval()
    example = torch.randn(4, 4)
    (group,) = find_channel_groups(model.requires_grad_(False), example).groups
    assert is_sound(model, example, [(group, torch.arange(4)[None])])
    wrong = type(group)(name=group.name, size=8, slices=group.slices[:-1])
    assert not is_sound(model, example, [(wrong, torch.arange(4)[None])])
