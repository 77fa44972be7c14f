"""What the methods that remove structure do to the convolutional families."""

import pytest
import torch
from torch import nn

from benchmarks.convolutional_families import ARCHITECTURES
from compressors.base import Compressor
from compressors.channel_pruning import ChannelPruning
from compressors.channels.discovery import find_channel_groups
from compressors.channels.verification import is_sound
from compressors.errors import InfeasibleError
from compressors.layer_removal import LayerRemoval
from compressors.low_rank import LowRank

# Slow: eight families of networks are searched for channels.
pytestmark = pytest.mark.slow


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_layers_but_those_of_the_outputs_lose_half_their_channels(name: str) -> None:
    task = ARCHITECTURES[name].task()
    step = ChannelPruning(ratio=0.5)
    left = step.skipped_layers(task.baseline, task)
    assert all("the model's outputs" in reason for reason in left.values()), left
    pruned = step(task.baseline, task)
    assert pruned(task.inputs).shape == task.baseline(task.inputs).shape
    assert size(pruned) < 0.5 * size(task.baseline)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_channels_of_all_groups_together_can_be_cut(name: str) -> None:
    task = ARCHITECTURES[name].task()
    model, example = task.baseline, task.example
    generator = torch.Generator().manual_seed(1)
    cuts = []
    for group in find_channel_groups(model, example).groups:
        orders = [torch.randperm(group.size, generator=generator) for _ in range(group.parts)]
        cuts.append((group, torch.stack(orders)[:, : max(1, group.size // 3)]))
    assert is_sound(model, example, cuts)


@pytest.mark.parametrize("step", [LayerRemoval(ratio=0.4), LowRank(lost_energy=0.3)], ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_depth_and_rank_go_or_a_sentence_says_why_not(name: str, step: Compressor) -> None:
    task = ARCHITECTURES[name].task()
    if isinstance(step, LayerRemoval) and name in ("DenseNet", "U-Net"):
        reason = r"(stem|down) turns \[\d+, 3, 8, 8\] into \[\d+, 8, 8, 8\]"
        with pytest.raises(InfeasibleError, match=reason):
            step(task.baseline, task)
    else:
        assert size(step(task.baseline, task)) < size(task.baseline)
