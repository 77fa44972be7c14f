import torch
from torch import nn

from compressors.models.batch_norm import reestimate_batch_norm


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
