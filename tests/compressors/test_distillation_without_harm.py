"""Distillation never raises its own objective on training data, at whatever learning rate."""

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.channel_pruning import ChannelPruning
from compressors.distillation import Distillation
from compressors.outputs.spec import Kind, OutputSpec
from compressors.testing.case import equal_states, state_of
from compressors.testing.task import ToyTask
from compressors.training.loop import TrainingSettings, train
from tests.compressors.channels.test_training_branches import AuxiliaryTask

SAMPLES = 192
Far = Callable[[Tensor, Tensor], Tensor]


def triplets(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return a loss that depends on the whole batch, of embeddings `[B, D]` and classes `[B]`."""
    rows = F.normalize(outputs, dim=1)
    alike = rows @ rows.t()
    same = targets[:, None] == targets
    return (alike[~same] + 1).mean() + (1 - alike[same]).mean()


def bits(targets: Tensor) -> Tensor:
    """Return three labels `[B, 3]` of classes `[B]` below 8."""
    return (targets[:, None] >> torch.arange(3) & 1).float()


LOSSES: Mapping[Kind, Far] = MappingProxyType(
    {
        "classes": F.cross_entropy,
        "labels": lambda outputs, targets: F.binary_cross_entropy_with_logits(
            outputs[:, :3], bits(targets)
        ),
        "values": lambda outputs, targets: F.mse_loss(outputs[:, :3], 3 * bits(targets)),
        "embedding": triplets,
    }
)


def bernoulli(logits: Tensor) -> torch.distributions.Bernoulli:
    return torch.distributions.Bernoulli(logits=logits / 2)


def categorical(logits: Tensor) -> torch.distributions.Categorical:
    return torch.distributions.Categorical(logits=logits / 2)


DISTANCES: Mapping[Kind, Far] = MappingProxyType(
    {
        "classes": lambda ours, theirs: (
            4 * torch.distributions.kl_divergence(categorical(theirs), categorical(ours)).mean()
        ),
        "labels": lambda ours, theirs: (
            4 * torch.distributions.kl_divergence(bernoulli(theirs), bernoulli(ours)).mean()
        ),
        "values": lambda ours, theirs: F.mse_loss(ours, theirs) / 2,
        "embedding": lambda ours, theirs: (
            1 - (F.normalize(ours, dim=1) * F.normalize(theirs, dim=1)).sum(1).mean()
        ),
    }
)
"""At temperature 2; the scale of values is 2."""


class Trained(ToyTask):
    """A network with batch-norm and dropout, trained to the end on outputs of one kind."""

    def __init__(self, kind: Kind) -> None:
        torch.manual_seed(0)
        targets = torch.arange(SAMPLES) % 8
        inputs = torch.randn(8, 12)[targets] + 0.7 * torch.randn(SAMPLES, 12)
        model = nn.Sequential(
            nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 8)
        )
        self.kind = kind
        settings = TrainingSettings(epochs=60, learning_rate=1e-2)
        train(model, lambda _: [(inputs, targets)], self.loss, settings)
        spec = OutputSpec(kind=kind, axis=1, scale=2.0)
        super().__init__(model.requires_grad_(False), inputs, targets, spec)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return LOSSES[self.kind](outputs, targets)

    def objective(self, model: nn.Module) -> float:
        """Return the objective of a distillation at temperature 2 and an even soft weight."""
        values = []
        for inputs, targets, teacher in self.teacher_batches(0):
            outputs = model(inputs)
            far = DISTANCES[self.kind](outputs, teacher)
            values.append(float(self.loss(outputs, targets) + far) / 2)
        return sum(values) / len(values)  # the batches are of one size


task_of = cache(Trained)


@pytest.mark.parametrize("learning_rate", [1e-3, 1e-2, 0.3])
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("kind", list(LOSSES))
def test_the_objective_never_rises(kind: Kind, pruned: bool, learning_rate: float) -> None:
    task = task_of(kind)
    start = ChannelPruning(ratio=0.5)(task.baseline, task) if pruned else task.baseline
    torch.manual_seed(0)
    step = Distillation(
        epochs=2, temperature=2.0, learning_rate=learning_rate, reestimate_batch_norm=True
    )
    assert task.objective(step(start, task)) <= task.objective(start) + 1e-6


@pytest.mark.parametrize("kind", list(LOSSES))
@pytest.mark.parametrize("soft_weight", [0.5, 1.0])
def test_a_training_that_can_only_harm_the_unchanged_baseline_leaves_it(
    kind: Kind, soft_weight: float
) -> None:
    task = task_of(kind)
    torch.manual_seed(0)
    step = Distillation(epochs=1, soft_weight=soft_weight, learning_rate=1.0, precision="bfloat16")
    found = step(task.baseline, task)
    assert equal_states(state_of(found), state_of(task.baseline))
    assert found is not task.baseline


@pytest.mark.parametrize("values", [{}, {"feature_weight": 1.0}, {"soft_weight": 0.0}], ids=str)
def test_a_model_that_returns_more_in_training_is_judged_by_what_it_returns_in_eval_mode(
    values: dict[str, Any],
) -> None:
    task = AuxiliaryTask()
    torch.manual_seed(0)
    task.baseline.requires_grad_(True)
    train(
        task.baseline,
        task.train_batches,
        task.loss,
        TrainingSettings(epochs=30, learning_rate=1e-2),
    )
    ToyTask.__init__(
        task, task.baseline.requires_grad_(False), task.inputs, task.targets, task.outputs
    )
    found = Distillation(epochs=0.5, learning_rate=1.0, **values)(task.baseline, task)
    assert equal_states(state_of(found), state_of(task.baseline))


def test_the_same_batches_are_judged_whatever_the_first_epoch() -> None:
    task = task_of("classes")
    asked: list[int] = []
    batches = task.teacher_batches
    judge = ToyTask(task.baseline, task.inputs, task.targets)
    judge.teacher_batches = lambda epoch: (asked.append(epoch), batches(epoch))[1]  # type: ignore[method-assign]
    Distillation(epochs=2, first_epoch=3)(judge.baseline, judge)
    assert asked[-1] == 0
    assert set(asked) == {0, 3, 4}
