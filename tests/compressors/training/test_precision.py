import torch

from compressors.training.precision import fastest_precision
from tests.zoo import toy_task


def test_the_fastest_precision_is_one_of_the_two() -> None:
    task = toy_task("residual")
    found = fastest_precision(task.baseline, task.example, lambda outputs: outputs.square().mean())
    assert found in (torch.float32, torch.bfloat16)
    assert not any(p.requires_grad for p in task.baseline.parameters())
