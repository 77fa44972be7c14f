"""Cuts that change more than zeros would are found."""

import torch
from torch import Tensor, nn

from compressors.channels.discovery import find_channel_groups
from compressors.channels.verification import is_sound


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
