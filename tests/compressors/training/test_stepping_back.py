import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.distillation import Distillation
from compressors.models.copying import copy_model
from compressors.training.stepping_back import mean_loss, step_back
from compressors.weight_pruning import WeightPruning
from compressors.weights.compressible import compressible_weights
from tests.zoo import NETS, toy_task


class Number(nn.Module):
    """One parameter beside constants that no training moves."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value), requires_grad=False)
        self.register_buffer("gate", torch.tensor([-math.inf, 0.1, math.inf]))
        self.register_buffer("count", torch.tensor(int(value)))


@pytest.mark.parametrize(
    ("optimum", "share"), [(1.0, 1), (0.5, 1), (0.49, 0.5), (0.26, 0.5), (0.24, 0.25), (0.1, 0)]
)
def test_the_way_is_halved_until_the_objective_is_not_above_that_of_the_start(
    optimum: float, share: float
) -> None:
    start, trained = Number(0.0), Number(8.0)
    found = step_back(trained, start, lambda model: float((model.value - 8 * optimum) ** 2))
    assert found.value == 8 * share
    assert torch.equal(found.gate, start.gate)
    assert found.count == (8 if share else 0)
    assert (found is start, found is trained) == (share == 0, share == 1)


def test_an_end_without_a_finite_objective_is_left_and_a_start_without_one_too() -> None:
    start, trained = Number(0.0), Number(8.0)
    assert step_back(trained, start, lambda model: math.nan if model.value else 1.0) is start
    assert step_back(trained, start, lambda model: 1.0 if model.value else math.nan) is trained


def test_between_two_models_masked_weights_stay_zero() -> None:
    task = toy_task("mlp")
    masked = WeightPruning(ratio=0.8, allocation="uniform")(task.baseline, task)
    moved = copy_model(masked)
    for weight in compressible_weights(moved):
        stored = weight.stored()
        assert stored is not None
        stored.add_(1.0)
    objectives = iter([0.0, 1.0, 0.0])
    between = step_back(moved, masked, lambda _: next(objectives))
    for one, old, new in zip(*map(compressible_weights, (between, masked, moved)), strict=True):
        torch.testing.assert_close(one.value(), (old.value() + new.value()) / 2)
        assert torch.equal(one.value() == 0, old.value() == 0)


def test_the_mean_loss_is_that_of_all_samples_whatever_the_batches() -> None:
    task = toy_task("mlp")
    batches = list(zip(task.inputs.split(100), task.targets.split(100), strict=True))
    found = mean_loss(task.baseline, batches, lambda model, x, y: F.cross_entropy(model(x), y))
    assert found == pytest.approx(float(F.cross_entropy(task.logits, task.targets)))


def test_a_loss_with_random_numbers_is_the_same_in_every_call_and_draws_none() -> None:
    def noisy(model: nn.Module, inputs: Tensor) -> Tensor:
        return (model(inputs) * torch.rand(())).mean()

    model, state = NETS["mlp"](), torch.get_rng_state()
    batches = [(toy_task("mlp").inputs,)]
    assert mean_loss(model, batches, noisy) == mean_loss(model, batches, noisy)
    assert torch.equal(torch.get_rng_state(), state)


def test_masks_are_closed_also_where_the_start_is_kept() -> None:
    task = toy_task("mlp")
    masked = WeightPruning(ratio=0.5, schedule="cubic", allocation="uniform")(task.baseline, task)
    kept = Distillation(epochs=1, learning_rate=1.0)(masked, task)
    for weight, before in zip(
        compressible_weights(kept), compressible_weights(masked), strict=True
    ):
        value, old = weight.value(), before.value()
        assert torch.equal(value[value != 0], old[value != 0])
        assert int((value == 0).sum()) == pytest.approx(0.5 * value.numel(), abs=1)
