import itertools

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compressors.training.loop import TrainingSettings, train
from tests.zoo import NETS, toy_task


@pytest.mark.parametrize("net", NETS)
def test_every_network_learns_its_task(net: str) -> None:
    task = toy_task(net)
    torch.manual_seed(0)
    model = NETS[net]().requires_grad_(True)
    seen: list[float] = []
    train(
        model,
        task.train_batches,
        task.loss,
        TrainingSettings(epochs=12, learning_rate=1e-2),
        on_epoch=lambda _, loss: seen.append(loss),
    )
    assert len(seen) == 12
    assert seen[-1] < 0.5 * seen[0]
    assert not model.training


def test_two_steps_match_adamw_on_its_schedule() -> None:
    task = toy_task("mlp")
    task.inputs, task.targets = task.inputs[:64], task.targets[:64]
    ours = NETS["mlp"]().requires_grad_(True)
    train(
        ours,
        task.train_batches,
        task.loss,
        TrainingSettings(epochs=2, learning_rate=0.01, weight_decay=0.1),
    )
    theirs = NETS["mlp"]().requires_grad_(True)
    weights = [p for p in theirs.parameters() if p.dim() == 2]
    biases = [p for p in theirs.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    )
    for epoch in range(2):  # one step of warm-up at the full rate, then the start of the cosine
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        [(inputs, targets)] = task.train_batches(epoch)
        optimizer.zero_grad()
        F.cross_entropy(theirs(inputs), targets).backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("epochs", "steps"), [(0.1, 1), (0.5, 2), (1, 4), (1.3, 6), (2.75, 11)])
@pytest.mark.parametrize("counted", [None, 4])
def test_a_part_of_an_epoch_is_its_first_batches(
    epochs: float, steps: int, counted: int | None
) -> None:
    task = toy_task("mlp")  # four batches
    model = NETS["mlp"]().requires_grad_(True)
    taken: list[Tensor] = []
    shares: list[float] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        taken.append(targets)
        return task.loss(outputs, targets)

    train(
        model,
        task.train_batches,
        loss,
        TrainingSettings(epochs=epochs, learning_rate=0.01, steps_per_epoch=counted),
        before_step=shares.append,
    )
    whole = [targets for epoch in range(3) for _, targets in task.train_batches(epoch)]
    assert len(taken) == steps
    assert all(torch.equal(*pair) for pair in zip(taken, whole, strict=False))
    assert shares == pytest.approx([step / steps for step in range(steps)])


def test_no_epoch_is_no_step() -> None:
    model = NETS["mlp"]().requires_grad_(True)
    before = model[0].weight.clone()
    train(
        model,
        toy_task("mlp").train_batches,
        F.cross_entropy,
        TrainingSettings(epochs=0, learning_rate=0.01),
    )
    assert torch.equal(model[0].weight, before)


def test_the_rate_is_nearly_zero_at_the_end_of_a_part() -> None:
    task = toy_task("mlp")
    model = NETS["mlp"]().requires_grad_(True)
    weights: list[Tensor] = []
    keep = lambda _: weights.append(model[0].weight.detach().clone())  # noqa: E731
    train(
        model,
        task.train_batches,
        task.loss,
        TrainingSettings(epochs=2.5, learning_rate=0.01),
        before_step=keep,
    )
    keep(None)
    moved = [float((b - a).abs().max()) for a, b in itertools.pairwise(weights)]
    assert len(moved) == 10
    assert moved[-1] < 0.1 * moved[0]


def test_frozen_parameters_stay() -> None:
    task = toy_task("mlp")
    model = NETS["mlp"]()
    model[4].requires_grad_(True)
    before = model[0].weight.clone()
    train(model, task.train_batches, task.loss, TrainingSettings(epochs=1, learning_rate=0.01))
    assert torch.equal(model[0].weight, before)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    task = toy_task("mlp")
    model = NETS["mlp"]().requires_grad_(True)

    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        return task.loss(outputs, targets) * torch.inf

    with pytest.raises(FloatingPointError, match="loss is inf in epoch 0, batch 0"):
        train(model, task.train_batches, broken, TrainingSettings(epochs=1, learning_rate=0.01))
