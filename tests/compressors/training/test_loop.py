import itertools

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.models.batch_norm import reestimate_batch_norm
from compressors.training.loop import train
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
        epochs=12,
        learning_rate=1e-2,
        on_epoch=lambda _, loss: seen.append(loss),
    )
    assert len(seen) == 12
    assert seen[-1] < 0.5 * seen[0]
    assert not model.training


def test_two_steps_match_adamw_on_its_schedule() -> None:
    task = toy_task("mlp")
    task.inputs, task.targets = task.inputs[:64], task.targets[:64]
    ours = NETS["mlp"]().requires_grad_(True)
    train(ours, task.train_batches, task.loss, epochs=2, learning_rate=0.01, weight_decay=0.1)
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
@pytest.mark.parametrize("told", [None, 4])
def test_a_part_of_an_epoch_is_its_first_batches(
    epochs: float, steps: int, told: int | None
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
        epochs=epochs,
        learning_rate=0.01,
        steps_per_epoch=told,
        before_step=shares.append,
    )
    whole = [targets for epoch in range(3) for _, targets in task.train_batches(epoch)]
    assert len(taken) == steps
    assert all(torch.equal(*pair) for pair in zip(taken, whole, strict=False))
    assert shares == pytest.approx([step / steps for step in range(steps)])


def test_no_epoch_is_no_step() -> None:
    model = NETS["mlp"]().requires_grad_(True)
    before = model[0].weight.clone()
    train(model, toy_task("mlp").train_batches, F.cross_entropy, epochs=0, learning_rate=0.01)
    assert torch.equal(model[0].weight, before)


def test_the_rate_is_nearly_zero_at_the_end_of_a_part() -> None:
    task = toy_task("mlp")
    model = NETS["mlp"]().requires_grad_(True)
    weights: list[Tensor] = []
    keep = lambda _: weights.append(model[0].weight.detach().clone())  # noqa: E731
    train(model, task.train_batches, task.loss, epochs=2.5, learning_rate=0.01, before_step=keep)
    keep(None)
    moved = [float((b - a).abs().max()) for a, b in itertools.pairwise(weights)]
    assert len(moved) == 10
    assert moved[-1] < 0.1 * moved[0]


def test_frozen_parameters_stay() -> None:
    task = toy_task("mlp")
    model = NETS["mlp"]()
    model[4].requires_grad_(True)
    before = model[0].weight.clone()
    train(model, task.train_batches, task.loss, epochs=1, learning_rate=0.01)
    assert torch.equal(model[0].weight, before)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    task = toy_task("mlp")
    model = NETS["mlp"]().requires_grad_(True)

    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        return task.loss(outputs, targets) * torch.inf

    with pytest.raises(FloatingPointError, match="loss is inf in epoch 0, batch 0"):
        train(model, task.train_batches, broken, epochs=1, learning_rate=0.01)


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


class Views(nn.Module):
    """A network whose code needs feature maps without gaps in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        return self.head(maps.view(-1, 4 * 36))


class Volumes(nn.Module):
    """A network with convolutions in three dimensions and a parameter of four axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv3d(1, 2, 3), nn.Linear(2 * 8, 3)
        self.shift = nn.Parameter(torch.zeros(1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.conv(x) + self.shift).flatten(1))


@pytest.mark.parametrize(("net", "shape"), [(Views, (1, 8, 8)), (Volumes, (1, 4, 4, 4))])
def test_the_layout_in_memory_is_not_forced_on_a_model(
    net: type[nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model, inputs = net(), torch.randn(6, *shape)
    before = [parameter.clone() for parameter in model.parameters()]
    batches = [(inputs, torch.zeros(6, dtype=torch.long))]
    train(model, lambda _: batches, nn.functional.cross_entropy, epochs=2, learning_rate=0.01)
    assert not torch.equal(before[0], next(model.parameters()))
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_convolutions_train_channels_last_and_end_as_they_were() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 16, 3))
    laid_out = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        laid_out.append(model[0].weight.is_contiguous(memory_format=torch.channels_last))
        return nn.functional.cross_entropy(outputs, targets)

    batches = [(torch.randn(6, 3, 6, 6), torch.zeros(6, dtype=torch.long))]
    train(model, lambda _: batches, loss, epochs=1, learning_rate=0.01)
    assert laid_out == [True]
    assert model[0].weight.is_contiguous()
