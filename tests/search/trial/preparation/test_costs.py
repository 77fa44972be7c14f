"""What is measured before a study plans its time."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from search.tasks.loading import training_task
from search.trial.preparation.costs import measure_costs
from tests.search.tasks.made_up import parts


@pytest.mark.parametrize("own", [False, True])
def test_an_epoch_costs_its_steps(own: bool, tmp_path: Path) -> None:
    calls: list[int] = []

    def step(model: nn.Module, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(1)
        outputs = model(batch[0])
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    built = {**parts(), **({"train_step": step} if own else {})}
    task = training_task(built, built["model"], tmp_path)
    before = {name: value.clone() for name, value in task.baseline.state_dict().items()}
    found = measure_costs(task, 1.5)
    assert found.file == 1.5
    assert found.epoch > 0
    assert found.precision == "float32"  # a short step's time says too little
    assert bool(calls) == own
    assert all(torch.equal(v, before[n]) for n, v in task.baseline.state_dict().items())
