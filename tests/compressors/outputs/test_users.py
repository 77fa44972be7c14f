"""Whoever compares outputs does so by what they are."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.budget.sensitivity import sensitivity
from compressors.channel_pruning import ChannelPruning
from compressors.distillation import Distillation
from compressors.low_rank import LowRank
from compressors.outputs.spec import OutputSpec
from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from compressors.training.loop import TrainingSettings, train
from compressors.weight_pruning import WeightPruning
from tests.zoo import toy_task


class WithFeatures(nn.Module):
    """A perceptron that also returns features which reach no loss, and a scalar."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"norm": x.norm(), "scores": {"logits": self.net(x)}, "none": None}


def structured() -> ToyTask:
    plain = toy_task("mlp")
    model = WithFeatures(plain.baseline).eval().requires_grad_(False)
    spec = OutputSpec(kind="classes", axis=1, name="scores.logits", training_name="scores.logits")
    return ToyTask(model, plain.inputs, plain.targets, spec)


@pytest.mark.parametrize(
    "step",
    [
        ChannelPruning(ratio=0.5, importance="taylor"),
        ChannelPruning(ratio=0.5, allocation="sensitivity"),
        LowRank(lost_energy=0.3),
        WeightPruning(ratio=0.5, allocation="sensitivity"),
        Quantization(bits=4, allocation="sensitivity"),
        Distillation(epochs=1),
        Distillation(epochs=1, precision="bfloat16", feature_weight=1.0),
    ],
    ids=repr,
)
def test_a_compressor_does_the_same_whatever_structure_the_logits_are_in(step: Any) -> None:
    plain, inside = toy_task("mlp"), structured()
    torch.manual_seed(0)
    expected = step(plain.baseline, plain)(plain.inputs)
    torch.manual_seed(0)
    found = step(inside.baseline, inside)(plain.inputs)
    torch.testing.assert_close(found["scores"]["logits"], expected)


def test_the_sensitivity_of_values_sees_their_level_and_that_of_classes_does_not() -> None:
    task = toy_task("mlp")

    def shift(model: nn.Module) -> None:
        list(model.parameters())[-1].add_(1.0)

    (classes,) = sensitivity(task.baseline, task, [shift])
    task.outputs = OutputSpec(kind="values", scale=2.0)
    (values,) = sensitivity(task.baseline, task, [shift])
    assert classes == pytest.approx(0, abs=1e-6)
    assert values == pytest.approx(0.5, rel=1e-4)


class Regression(ToyTask):
    """Four values of levels of their own, or one `[B]`, that a small network has learned."""

    def __init__(self, values: int) -> None:
        torch.manual_seed(0)
        inputs = torch.randn(512, 8)
        targets = torch.tanh(inputs @ torch.randn(8, max(1, values))) + 3 * torch.arange(
            max(1, values)
        )
        layers = [nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU()]
        last: list[nn.Module] = [nn.Linear(48, max(1, values))]
        model = nn.Sequential(*layers, *last, *([] if values else [nn.Flatten(0)]))
        self.rows = list(
            zip(inputs.split(64), self._shaped(targets, values).split(64), strict=True)
        )
        train(
            model,
            lambda epoch: self.rows,
            F.mse_loss,
            TrainingSettings(epochs=60, learning_rate=3e-3),
        )
        variance = float(targets.var(0).mean())
        spec = OutputSpec(kind="values", scale=variance)
        model.requires_grad_(False)
        super().__init__(model, inputs, self._shaped(targets, values), spec)

    @staticmethod
    def _shaped(targets: Tensor, values: int) -> Tensor:
        return targets if values else targets[:, 0]

    def train_batches(self, epoch: int) -> Iterator[tuple[Any, Tensor]]:
        yield from self.rows

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs, targets)

    def error(self, model: nn.Module) -> float:
        return float(F.mse_loss(model(self.inputs), self.targets))


@pytest.mark.parametrize("values", [0, 1, 4])
@pytest.mark.parametrize("soft_weight", [0.5, 1.0])
def test_distilled_values_recover(values: int, soft_weight: float) -> None:
    task = Regression(values)
    step = Distillation(epochs=5, soft_weight=soft_weight)
    torch.manual_seed(0)
    assert task.error(step(task.baseline, task)) < 1.1 * task.error(task.baseline) + 1e-3
    pruned = ChannelPruning(ratio=0.5)(task.baseline, task)
    assert task.error(step(pruned, task)) < 0.5 * task.error(pruned)
