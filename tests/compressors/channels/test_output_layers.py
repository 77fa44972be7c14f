"""The layers that make a model's outputs."""

import torch
from torch import Tensor, nn

from compressors.channels.discovery import find_channel_groups
from compressors.channels.output_layers import output_layers


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(8, 16)
        self.left, self.right = nn.Linear(16, 8), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x).relu()
        return {"left": (self.left(features) + x).softmax(-1), "right": self.right(features)}


def test_output_layers_are_found_behind_what_follows_them() -> None:
    model = TwoOutputs().eval()
    assert set(output_layers(model, torch.randn(2, 8))) == {model.left, model.right}
    found = find_channel_groups(model, torch.randn(2, 8))
    assert [group.name for group in found.groups] == ["trunk"]
    assert set(found.skipped_layers) == {"left", "right"}
