"""Cuts that change more than zeros would are found out, with the reason."""

import torch
from torch import Tensor, nn

from compressors.channels.discovery import find_channel_groups
from compressors.channels.group import ChannelGroup, Slice
from compressors.channels.verification import is_sound, unsoundness
from compressors.models.fingerprint import fingerprint


class Mixing(nn.Module):
    """Reads the channels in another order than they are written in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.second(y.view(len(x), 2, -1).transpose(1, 2).flatten(1))


def test_channels_that_a_reshape_mixes_go_together() -> None:
    torch.manual_seed(0)
    model = Mixing().eval().requires_grad_(False)
    example = torch.randn(4, 4)
    (group,) = find_channel_groups(model, example).groups
    assert (group.name, group.size, group.width) == ("first", 4, 2)
    rows, columns = (
        {c: set(part.indices[part.channels == c].tolist()) for c in range(4)}
        for part in (group.slices[0], group.slices[-1])
    )
    assert rows == {c: {c, c + 4} for c in range(4)}
    assert columns == {c: {2 * c, 2 * c + 1} for c in range(4)}


def test_a_cut_that_a_reshape_does_not_bear_is_found_out() -> None:
    torch.manual_seed(0)
    model = Mixing().eval().requires_grad_(False)
    slices = tuple(
        Slice(tensor=tensor, axis=axis, indices=torch.arange(8), channels=torch.arange(8))
        for tensor, axis in (("first.weight", 0), ("first.bias", 0), ("second.weight", 1))
    )
    group = ChannelGroup(name="first", size=8, slices=slices)
    reason = unsoundness(model, torch.randn(4, 4), [(group, torch.tensor([[0]]))])
    assert "written into the model's code" in str(reason)
    other = unsoundness(model, torch.randn(4, 4), [(group, torch.tensor([[0, 1]]))])
    assert "used together" in str(other)


def test_soundness_is_about_the_outputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)).eval()
    example = torch.randn(4, 4)
    (group,) = find_channel_groups(model.requires_grad_(False), example).groups
    assert is_sound(model, example, [(group, torch.arange(4)[None])])
    wrong = type(group)(name=group.name, size=8, slices=group.slices[:-1])
    assert not is_sound(model, example, [(wrong, torch.arange(4)[None])])


def test_the_model_that_is_verified_keeps_its_tensors_and_values() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval().requires_grad_(False)
    before, held = fingerprint(model), [*model.parameters()]
    (group,) = find_channel_groups(model, torch.randn(4, 4)).groups
    assert is_sound(model, torch.randn(4, 4), [(group, torch.arange(4)[None])])
    assert fingerprint(model) == before
    assert all(one is other for one, other in zip(model.parameters(), held, strict=True))
