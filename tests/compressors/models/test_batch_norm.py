"""Batch-norm statistics of models that have changed."""

import pytest
import torch
from torch import nn

from compressors.base import Compressor
from compressors.channel_pruning import ChannelPruning
from compressors.layer_removal import LayerRemoval
from compressors.models.batch_norm import reestimate_batch_norm, renew_batch_norm
from compressors.models.copying import copy_model
from tests.zoo import toy_task


@pytest.mark.parametrize("step", [ChannelPruning(ratio=0.5), LayerRemoval(ratio=0.3)])
@pytest.mark.parametrize("net", ["residual", "audio"])
def test_batch_norm_statistics_are_those_of_the_smaller_model(step: Compressor, net: str) -> None:
    task = toy_task(net)
    smaller = step(task.baseline, task)
    again = copy_model(smaller)
    renew_batch_norm(again, task)
    before = task.baseline.state_dict()
    for name, value in smaller.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[name])
        if "running_mean" in name:
            assert value.shape != before[name].shape or not torch.equal(value, before[name])


def test_statistics_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no batch"):
        reestimate_batch_norm(nn.Sequential(nn.BatchNorm1d(3)), [])


def test_batch_norm_statistics_are_those_of_the_data() -> None:
    norm = nn.BatchNorm1d(3)
    model = nn.Sequential(nn.Dropout(0.5), norm).eval()
    batches = list(5 + 2 * torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0)))
    reestimate_batch_norm(model, batches)
    torch.testing.assert_close(norm.running_mean, torch.cat(batches).mean(0))
    expected = torch.stack([batch.var(0) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_var, expected)
    assert norm.momentum == 0.1
    assert not norm.training
