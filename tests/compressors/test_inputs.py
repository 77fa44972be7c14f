"""Every compressor takes models of several inputs, by position or by name."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import batch_size, calibration_batches, to_device
from tests.acting import NAMES, acting
from tests.zoo import NETS, toy_task


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = NETS["mlp"]()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.net(first - second)


class TwoInputsTask:
    def __init__(self, *, named: bool) -> None:
        self.toy = toy_task("mlp")
        self.named = named
        self.baseline = TwoInputs().eval().requires_grad_(False)
        self.example = self.inputs(self.toy.example)
        self.loss, self.outputs = self.toy.loss, self.toy.outputs

    def inputs(self, x: Tensor) -> Inputs:
        return {"second": x / 2, "first": x} if self.named else (x, x / 2)

    def train_batches(self, epoch: int) -> Iterator[tuple[Inputs, Any]]:
        for x, targets in self.toy.train_batches(epoch):
            yield self.inputs(x), targets

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Inputs, Any, Tensor]]:
        for inputs, targets in self.train_batches(epoch):
            yield inputs, targets, run(self.baseline, inputs)

    def measured(self, key: str, measure: Callable[[], Any]) -> Any:
        return measure()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("named", [True, False])
def test_several_inputs_work(name: str, named: bool) -> None:
    task = TwoInputsTask(named=named)
    torch.manual_seed(0)
    model = acting(name)(task.baseline, task)
    said, before = run(model, task.example), run(task.baseline, task.example)
    assert said.shape == before.shape
    assert not torch.equal(said, before)


@pytest.mark.parametrize("named", [True, False])
def test_batches_are_counted_and_moved_whole(named: bool) -> None:
    task = TwoInputsTask(named=named)
    batches = list(calibration_batches(task, torch.device("cpu"), samples=65))
    assert [batch_size(inputs) for inputs in batches] == [64, 64]
    moved = to_device(task.example, torch.device("meta"))
    tensors = moved.values() if isinstance(moved, dict) else moved
    assert all(tensor.device.type == "meta" for tensor in tensors)
