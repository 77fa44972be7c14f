"""Batch-norm after channels without variance: rounding must not be enlarged in file or model."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.models.batch_norm import reestimate_batch_norm, training_norms
from compressors.models.constant_channels import settle_constant_channels
from compressors.models.copying import copy_model
from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from compressors.weight_sharing import WeightSharing
from search.artefact.artefact import write_artefact


class AfterActivation(nn.Module):
    """A batch-norm that cannot be folded, behind a convolution with dead channels."""

    def __init__(self, *, affine: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8, affine=affine)
        self.last = nn.Conv2d(8, 4, 3, padding=1)
        with torch.no_grad():
            self.first.weight[:3] = 0
            self.first.bias[:3] = torch.tensor([0.3, 1.1, -0.2])

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.last(self.norm(F.hardswish(self.first(x))))
        return maps


class BehindDeadBranch(nn.Module):
    """A batch-norm that is folded, behind a branch all of whose channels are constant."""

    def __init__(self) -> None:
        super().__init__()
        self.dead = nn.Conv2d(3, 8, 1)
        self.branch = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.main, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 3, padding=1)
        nn.init.zeros_(self.dead.weight)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.last(self.main(x) + self.branch(self.dead(x)))
        return maps


class Joined(nn.Module):
    """A batch-norm on joined maps, of which some are dead, as in a DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)
        with torch.no_grad():
            self.second.weight[:2] = 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        maps: Tensor = self.last(F.relu(self.norm(torch.cat([y, self.second(y)], 1))))
        return maps


NETS = {
    "after an activation": AfterActivation,
    "without scale and shift": lambda: AfterActivation(affine=False),
    "behind a dead branch": BehindDeadBranch,
    "on joined maps": Joined,
}


def task_of(net):
    torch.manual_seed(0)
    model = NETS[net]().eval().requires_grad_(False)
    inputs = torch.randn(32, 3, 6, 6)
    reestimate_batch_norm(model, [inputs], training_norms(model))
    return ToyTask(model, inputs, torch.zeros(32).long())


def decibels(expected, actual):
    noise = (expected - actual).square().sum()
    return float(10 * torch.log10(expected.square().sum() / noise))


@pytest.mark.parametrize("net", NETS)
def test_dead_channels_cost_no_decibels_in_the_integer_file(net, tmp_path):
    task = task_of(net)
    model = Quantization(bits=8)(task.baseline, task)
    assert decibels(task.baseline(task.inputs), model(task.inputs)) > 30
    path = write_artefact(model, task, tmp_path).run_path
    session = onnxruntime.InferenceSession(path.read_bytes())
    feeds = {session.get_inputs()[0].name: np.asarray(task.inputs)}
    file = torch.from_numpy(session.run(None, feeds)[0])
    assert decibels(model(task.inputs), file) > 30
    assert decibels(task.baseline(task.inputs), file) > 30


@pytest.mark.parametrize("net", ["behind a dead branch", "on joined maps"])
def test_shared_weights_and_rounded_biases_are_not_enlarged(net):
    task = task_of(net)
    model = WeightSharing(clusters=255)(task.baseline, task)
    assert decibels(task.baseline(task.inputs), model(task.inputs)) > 30


@pytest.mark.parametrize("net", NETS)
def test_the_model_in_floats_computes_the_same(net):
    task = task_of(net)
    model = copy_model(task.baseline)
    settle_constant_channels(model, task)
    assert decibels(task.baseline(task.inputs), model(task.inputs)) > 80
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [bool((norm.weight == 0).any()) for norm in norms] == [True]


def test_a_channel_with_variance_and_one_that_moves_are_left_alone():
    task = task_of("after an activation")
    norm = task.baseline.norm
    norm.running_var[3] = 0  # wrong: it moves
    norm.running_var[0] = 1  # constant, and divided by 1
    before = norm.weight.clone()
    model = copy_model(task.baseline)
    settle_constant_channels(model, task)
    assert torch.equal(model.norm.weight != before, torch.arange(8).eq(1) | torch.arange(8).eq(2))
    assert torch.equal(norm.weight, before)


def test_no_data_are_read_without_a_channel_of_no_variance():
    task = task_of("after an activation")
    task.baseline.norm.running_var.fill_(1)
    task.train_batches = None
    settle_constant_channels(task.baseline, task)
