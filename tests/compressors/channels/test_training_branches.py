"""What runs only in training stays consistent with what is cut."""

from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.channel_pruning import ChannelPruning
from compressors.channels.discovery import find_channel_groups
from compressors.channels.training_branches import runs_more_in_training, training_branches
from compressors.distillation import Distillation
from compressors.outputs.divergence import divergence
from compressors.outputs.spec import OutputSpec
from compressors.testing.data import CLASSES, SAMPLES, prototypes
from compressors.testing.task import ToyTask


class Auxiliary(nn.Module):
    """One tensor in eval mode; in training a second head, called last, after the first block."""

    def __init__(self, *, fixed: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(16, 24), nn.Linear(24, 32)
        self.head, self.early = nn.Linear(32, CLASSES), nn.Linear(24, CLASSES)
        self.fixed = fixed

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        middle = self.one(x).relu()
        outputs = self.head(F.dropout(self.two(middle).relu(), 0.1, self.training))
        if not self.training:
            return outputs
        return self.early(middle.view(len(x), 24) if self.fixed else middle), outputs


class AuxiliaryTask(ToyTask):
    """The loss takes both forms; the outputs have other names in training."""

    def __init__(self, *, fixed: bool = False) -> None:
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(1)
        targets = torch.arange(SAMPLES) % CLASSES
        model = Auxiliary(fixed=fixed).eval().requires_grad_(False)
        super().__init__(model, prototypes(16)(targets, generator), targets)
        self.outputs = OutputSpec(kind="classes", axis=1, training_name="1")

    def loss(self, outputs: Tensor | tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        each = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum((F.cross_entropy(one, targets) for one in each), torch.zeros(()))


def test_an_auxiliary_head_loses_the_inputs_that_its_layer_loses() -> None:
    task = AuxiliaryTask()
    smaller = ChannelPruning(ratio=0.5)(task.baseline, task)
    assert (smaller.one.out_features, smaller.two.out_features) == (12, 16)
    assert (smaller.early.in_features, smaller.early.out_features) == (12, CLASSES)
    smaller.train()
    assert [tuple(part.shape) for part in smaller(task.inputs)] == [(SAMPLES, CLASSES)] * 2


def test_the_pruned_model_learns_the_output_of_eval_mode_back() -> None:
    task = AuxiliaryTask()
    smaller = ChannelPruning(ratio=0.5)(task.baseline, task)
    before = float(divergence(task.outputs, smaller(task.inputs), task.logits))
    step = Distillation(epochs=20, soft_weight=1.0, learning_rate=0.01)
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        student = replace(step, feature_weight=weight)(smaller, task)
        assert float(divergence(task.outputs, student(task.inputs), task.logits)) < 0.5 * before


def test_a_layer_whose_width_training_alone_needs_is_left_with_a_reason() -> None:
    task = AuxiliaryTask(fixed=True)
    found = find_channel_groups(task.baseline, task.example)
    assert [group.name for group in found.groups] == ["two"]
    assert "runs only in training" in found.skipped_layers["one"]


def test_only_layers_that_eval_mode_does_not_call_count() -> None:
    inputs = torch.randn(2, 16)
    assert runs_more_in_training(Auxiliary().eval(), inputs)
    assert not runs_more_in_training(nn.Sequential(nn.Linear(16, 4), nn.Dropout()).eval(), inputs)


def test_modes_and_the_generator_are_as_before_afterwards() -> None:
    model, state = Auxiliary().eval(), torch.get_rng_state()
    with training_branches(model):
        assert isinstance(model(torch.ones(2, 16)), tuple)
    assert not any(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
