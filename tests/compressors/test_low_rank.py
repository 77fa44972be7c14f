from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrizations import weight_norm

from compressors.errors import InfeasibleError
from compressors.layers.factorisable import factorisable_layers
from compressors.low_rank import LowRank
from compressors.testing.data import CLASSES
from compressors.testing.task import ToyTask
from tests.compressors.layers.decaying import decaying, normal
from tests.zoo import NETS, toy_task


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("allocation", ["uniform", "sensitivity"])
def test_there_are_fewer_weights_and_the_outputs_stay_near(net: str, allocation) -> None:
    task = toy_task(net)
    decaying(task.baseline)
    wanted = task.baseline(task.inputs)
    model = LowRank(lost_energy=0.1, allocation=allocation)(task.baseline, task)
    assert parameters(model) < parameters(task.baseline)
    if not any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):  # measured anew
        close = LowRank(lost_energy=0.02)(task.baseline, task)
        error = (close(task.inputs) - wanted).norm() / wanted.norm()
        assert error < 0.25


def test_a_layer_that_would_not_get_smaller_is_left() -> None:
    task = toy_task("mlp")
    rank_one = task.baseline[2].weight
    with torch.no_grad():
        rank_one.copy_(torch.outer(normal(24), normal(24)))
    model = LowRank(lost_energy=0.01)(task.baseline, task)
    assert isinstance(model[2], nn.Sequential)
    assert torch.equal(model[0].weight, task.baseline[0].weight)
    assert torch.equal(model[4].weight, task.baseline[4].weight)
    torch.testing.assert_close(model(task.inputs), task.baseline(task.inputs))


def test_full_energy_in_all_layers_is_infeasible() -> None:
    task = toy_task("mlp")
    with pytest.raises(InfeasibleError, match=r"low rank: with lost_energy 0 every layer needs"):
        LowRank(layers={"0": 0.0001})(task.baseline, task)


def test_patterns_override_the_energy() -> None:
    task = toy_task("mlp")
    model = LowRank(lost_energy=0.5, layers={"0": 0.0, "[24]": 0.9})(task.baseline, task)
    assert isinstance(model[0], nn.Linear)
    assert [model[i][0].out_features for i in (2, 4)] == [1, 1]
    with pytest.raises(InfeasibleError, match="'fc' matches none of 0, 2, 4"):
        LowRank(layers={"fc": 0.5})(task.baseline, task)


@pytest.mark.parametrize("mask", [True, False])
def test_an_encoder_runs_without_its_fused_kernels(mask: bool) -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval()
    inputs = normal(4, 6, 16)
    padding = torch.arange(6) >= torch.tensor([6, 4, 5, 3])[:, None] if mask else None
    task = ToyTask(decaying(encoder), inputs, torch.zeros(4).long())
    model = LowRank(lost_energy=0.1)(encoder, task)
    assert type(model.layers[0].linear1) is nn.Sequential
    assert type(model.layers[0].self_attn.out_proj) is not nn.Sequential
    with torch.no_grad():
        said = model(inputs, src_key_padding_mask=padding)
        plain = model.train()(inputs, src_key_padding_mask=padding)
    seen = torch.ones(4, 6, dtype=torch.bool) if padding is None else ~padding
    torch.testing.assert_close(said[seen], plain[seen], rtol=1e-4, atol=1e-5)


class ReadsAWeight(nn.Module):
    """Code that reads attributes of its layers, as some models do for a dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 24), nn.Linear(24, 24)
        self.unused = nn.Linear(24, 24)
        self.grouped = nn.Conv1d(24, 24, 1, groups=2)
        self.normed = weight_norm(nn.Linear(24, 24))
        self.tied, self.same = nn.Linear(24, 24), nn.Linear(24, 24)
        self.same.weight = self.tied.weight
        self.called_twice = nn.Linear(24, 24)
        self.again = self.called_twice

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).to(self.first.weight.dtype))
        x = self.grouped(x[..., None])[..., 0]
        x = self.same(self.tied(self.normed(x)))
        return self.again(self.called_twice(x))


def test_layers_that_other_code_needs_are_left() -> None:
    model = decaying(ReadsAWeight().eval().requires_grad_(False))
    inputs = normal(8, 16)
    names = list(model.state_dict())
    assert list(factorisable_layers(model, inputs)) == ["second", "called_twice"]
    assert list(model.state_dict()) == names
    smaller = LowRank(lost_energy=0.01)(model, ToyTask(model, inputs, torch.zeros(8).long()))
    assert smaller.again is smaller.called_twice
    assert type(smaller.again) is nn.Sequential
    assert smaller(inputs).isfinite().all()


def test_a_model_without_such_layers_is_infeasible() -> None:
    task = ToyTask(nn.Flatten(), normal(8, CLASSES), torch.zeros(8).long())
    with pytest.raises(InfeasibleError, match="no plain linear or ungrouped convolution"):
        LowRank(lost_energy=0.5)(task.baseline, task)


def test_each_layer_that_stays_has_a_reason() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES))
    model[1].weight = model[0].weight
    model[2] = parametrizations.weight_norm(model[2])
    task = ToyTask(model.eval(), normal(8, 8), torch.zeros(8).long())
    assert LowRank().skipped_layers(model, task) == {
        "0": "its weight is shared with 1",
        "1": "its weight is shared with 0",
        "2": "its weight is computed anew in each pass (by a parametrisation or hook)",
    }
    with pytest.raises(InfeasibleError, match="0: its weight is shared with 1; 1: its weight is"):
        LowRank(lost_energy=0.5)(model, task)


def test_bad_values_are_named() -> None:
    with pytest.raises(ValueError, match=r"lost_energy must be in \[0, 1\), got 1"):
        LowRank(lost_energy=1)
    with pytest.raises(ValueError, match=r"layers\['fc'\] must be in \[0, 1\), got 2"):
        LowRank(layers={"fc": 2})
    with pytest.raises(ValueError, match="allocation must be one of"):
        LowRank(allocation="global")


def test_a_pair_is_trained_and_copied_like_any_layers() -> None:
    task = toy_task("mlp")
    model = deepcopy(LowRank(lost_energy=0.4)(task.baseline, task)).requires_grad_(True)
    task.loss(model(task.inputs), task.targets).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_layers_without_a_pair_are_named() -> None:
    task = toy_task("depthwise")
    left = LowRank().skipped_layers(task.baseline, task)
    grouped = {n for n, m in task.baseline.named_modules() if getattr(m, "groups", 1) > 1}
    assert set(left) == grouped
    task = toy_task("recurrent")
    assert "lstm" in LowRank().skipped_layers(task.baseline, task)
