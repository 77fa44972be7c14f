"""Batch-norm statistics of models that have changed."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressors.base import Compressor
from compressors.channel_pruning import ChannelPruning
from compressors.distillation import Distillation
from compressors.layer_removal import LayerRemoval
from compressors.low_rank import LowRank
from compressors.models.batch_norm import reestimate_batch_norm, renew_batch_norm
from compressors.models.copying import copy_model
from compressors.models.trainable import mark_frozen
from compressors.testing.task import ToyTask
from compressors.weight_pruning import WeightPruning
from tests.zoo import toy_task

WIDTH = 8
LAYERS = 4


class Row(nn.Module):
    """Convolutions with batch-norm in a row, so that it is plain which norm is behind which."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False) for _ in range(LAYERS)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(WIDTH) for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def row_task() -> ToyTask:
    """A row of layers whose statistics are a little off those of the data, as after training."""
    torch.manual_seed(0)
    model = Row().eval().requires_grad_(False)
    inputs = torch.randn(128, WIDTH, 5, 5)
    reestimate_batch_norm(model, [inputs], list(model.norms))
    for norm in model.norms:
        norm.running_mean.add_(0.1 * torch.randn(WIDTH))
        norm.running_var.mul_(1.1)
    return ToyTask(model, inputs, torch.randint(0, 3, (128,)))


def plain_statistics(model: Row, inputs: Tensor, place: int) -> tuple[Tensor, Tensor]:
    """The mean and variance that come into a norm, those before it in eval mode."""
    x = inputs
    for conv, norm in list(zip(model.convs, model.norms, strict=True))[:place]:
        x = torch.relu(norm(conv(x)))
    x = model.convs[place](x)
    return x.mean((0, 2, 3)), x.var((0, 2, 3))


def same(one: nn.Module, other: nn.Module) -> bool:
    return torch.equal(one.running_mean, other.running_mean) and torch.equal(
        one.running_var, other.running_var
    )


def test_an_untouched_model_keeps_its_statistics_to_the_bit() -> None:
    task = row_task()
    model = copy_model(task.baseline)
    renew_batch_norm(model, task, task.baseline)
    statistics = Distillation(reestimate_batch_norm=True)(task.baseline, task)
    for changed in (model, statistics):
        for name, value in task.baseline.state_dict().items():
            assert torch.equal(changed.state_dict()[name], value)


@pytest.mark.parametrize("place", range(LAYERS))
def test_only_layers_behind_a_change_are_measured(place: int) -> None:
    task = row_task()
    model = copy_model(task.baseline)
    model.convs[place].weight[0] *= 1.5
    renew_batch_norm(model, task, task.baseline)
    kept = [same(*pair) for pair in zip(model.norms, task.baseline.norms, strict=True)]
    assert kept == [number < place for number in range(LAYERS)]
    mean, variance = plain_statistics(model, task.inputs, place)
    mean_then, variance_then = plain_statistics(task.baseline, task.inputs, place)
    before, renewed = task.baseline.norms[place], model.norms[place]
    torch.testing.assert_close(renewed.running_mean, before.running_mean + mean - mean_then)
    expected = before.running_var * variance / variance_then
    torch.testing.assert_close(renewed.running_var, expected, rtol=0.05, atol=0)


def test_data_that_differ_from_those_of_the_training_shift_nothing() -> None:
    """A change that is next to none leaves the statistics next to what they were."""
    task = row_task()
    other = ToyTask(task.baseline, 3 * task.inputs + 1, task.targets)
    model = copy_model(task.baseline)
    for conv in model.convs:
        conv.weight *= 1.001
    renew_batch_norm(model, other, task.baseline)
    for norm, before in zip(model.norms, task.baseline.norms, strict=True):
        assert not same(norm, before)
        close = {"rtol": 0.01, "atol": 0.02}
        torch.testing.assert_close(norm.running_mean, before.running_mean, **close)
        torch.testing.assert_close(norm.running_var, before.running_var, **close)


def test_channels_that_cannot_be_told_apart_are_measured_on_the_data() -> None:
    task = row_task()  # whose norms all have scale 1 and shift 0
    smaller = ChannelPruning(layers={"convs.0": 0.25, "convs.1": 0.5})(task.baseline, task)
    x = torch.relu(smaller.norms[0](smaller.convs[0](task.inputs)))
    mean = smaller.convs[1](x).mean((0, 2, 3))
    torch.testing.assert_close(smaller.norms[1].running_mean, mean)


def test_channels_that_are_told_apart_by_scale_and_shift_are_followed_through_a_cut() -> None:
    task = row_task()
    for norm in task.baseline.norms:
        norm.weight.copy_(torch.rand(WIDTH) + 0.5)
    smaller = ChannelPruning(layers={"convs.0": 0.25, "convs.1": 0.5})(task.baseline, task)
    before, renewed = task.baseline.norms[1], smaller.norms[1]
    places = [before.weight.tolist().index(scale) for scale in renewed.weight.tolist()]
    x = torch.relu(smaller.norms[0](smaller.convs[0](task.inputs)))
    now = smaller.convs[1](x).mean((0, 2, 3))
    then = plain_statistics(task.baseline, task.inputs, 1)[0][places]
    torch.testing.assert_close(renewed.running_mean, before.running_mean[places] + now - then)


def test_channels_that_stay_keep_the_statistics_before_a_cut() -> None:
    task = row_task()
    smaller = ChannelPruning(layers={"convs.0": 0.5})(task.baseline, task)
    first, before = smaller.norms[0], task.baseline.norms[0]
    places = [before.running_mean.tolist().index(mean) for mean in first.running_mean.tolist()]
    assert len(places) == WIDTH // 2
    assert torch.equal(first.running_var, before.running_var[places])
    assert not any(same(smaller.norms[n], task.baseline.norms[n]) for n in range(1, LAYERS))
    again = Distillation(reestimate_batch_norm=True)(smaller, task)
    assert same(again.norms[0], first)


@pytest.mark.parametrize(
    "step", [LayerRemoval(ratio=0.3), ChannelPruning(ratio=0.5), LowRank(lost_energy=0.3)]
)
@pytest.mark.parametrize("net", ["residual", "audio"])
def test_statistics_are_those_of_the_smaller_model(step: Compressor, net: str) -> None:
    task = toy_task(net)
    smaller = step(task.baseline, task)
    norms = [module for module in smaller.modules() if isinstance(module, _BatchNorm)]
    before = {id(m): m for m in task.baseline.modules() if isinstance(m, _BatchNorm)}.values()
    assert norms
    if isinstance(step, LowRank):  # which keeps the widths
        assert not same(norms[-1], list(before)[-1])
    again = copy_model(smaller)
    renew_batch_norm(again, task, smaller)
    for name, value in smaller.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_layers_that_are_not_trained_on_batches_keep_their_statistics() -> None:
    task = row_task()
    norms = task.baseline.norms
    mark_frozen(task.baseline, [norms[2].weight, norms[2].bias])
    masked = WeightPruning(ratio=0.5)(task.baseline, task)
    trained = Distillation(epochs=1, reestimate_batch_norm=True)(masked, task)
    for model in (Distillation(reestimate_batch_norm=True)(masked, task), trained):
        kept = [same(*pair) for pair in zip(model.norms, norms, strict=True)]
        assert kept == [False, False, True, False]


def test_a_layer_that_does_not_run_is_left_alone() -> None:
    task = row_task()
    task.baseline.norms.append(nn.BatchNorm2d(WIDTH).eval())
    task.baseline.norms[-1].running_mean.fill_(7)
    task.baseline.forward = lambda x: torch.relu(x).mean((2, 3))  # type: ignore[method-assign]
    model = copy_model(task.baseline)
    renew_batch_norm(model, task, task.baseline)
    assert bool((model.norms[-1].running_mean == 7).all())


def test_statistics_of_nothing_are_refused() -> None:
    norm = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="no batch"):
        reestimate_batch_norm(nn.Sequential(norm), [], [norm])


def test_batch_norm_statistics_are_those_of_the_data() -> None:
    norm = nn.BatchNorm1d(3)
    model = nn.Sequential(nn.Dropout(0.5), norm).eval()
    batches = list(5 + 2 * torch.randn(4, 50, 3, generator=torch.Generator().manual_seed(0)))
    reestimate_batch_norm(model, batches, [norm])
    torch.testing.assert_close(norm.running_mean, torch.cat(batches).mean(0))
    expected = torch.stack([batch.var(0) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_var, expected)
    assert norm.momentum == 0.1
    assert not norm.training
