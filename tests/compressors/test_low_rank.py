from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from compressors.budget.sensitivity import sensitivity
from compressors.errors import InfeasibleError
from compressors.layers.factorisable import factorisable_layers
from compressors.layers.factors import factorised, factors_of
from compressors.low_rank import LowRank, ranks_by_sensitivity, saving_rank
from compressors.testing.data import CLASSES
from compressors.testing.task import ToyTask
from tests.zoo import NETS, toy_task

LAYERS = {
    "linear": (nn.Linear(12, 7), (5, 12)),
    "no bias": (nn.Linear(7, 12, bias=False), (5, 3, 7)),
    "double": (nn.Linear(7, 12).double(), (5, 7)),
    "convolution": (nn.Conv2d(4, 6, 3, padding=1, stride=2), (2, 4, 9, 8)),
    "dilated": (nn.Conv2d(4, 6, (3, 2), dilation=2, bias=False), (2, 4, 9, 8)),
    "reflecting": (nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"), (2, 4, 9, 8)),
    "over time": (nn.Conv1d(4, 16, 5), (2, 4, 9)),
    "volumes": (nn.Conv3d(2, 6, 2), (1, 2, 4, 4, 4)),
}


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def decaying(model: nn.Module) -> nn.Module:
    """Give every weight matrix singular values that halve from one to the next."""
    for module in model.modules():
        if type(module) in (nn.Linear, nn.Conv2d):
            found = factors_of(module)
            values = 0.5 ** torch.arange(len(found.values))
            with torch.no_grad():
                matrix = (found.left * values) @ found.right
                module.weight.copy_(matrix.view(module.weight.shape))
    return model


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_at_full_rank_two_layers_are_the_one(name: str) -> None:
    layer, shape = LAYERS[name]
    found = factors_of(layer)
    pair = factorised(layer, found, len(found.values))
    inputs = normal(*shape).to(layer.weight.dtype)
    torch.testing.assert_close(pair(inputs), layer(inputs), rtol=1e-4, atol=1e-5)
    assert all(type(half) is type(layer) for half in pair)
    assert all(half.weight.dtype == layer.weight.dtype for half in pair)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rank", [1, 3])
def test_the_error_is_that_of_the_singular_values_left_out(name: str, rank: int) -> None:
    layer, _ = LAYERS[name]
    pair = factorised(layer, factors_of(layer), rank)
    left, right = pair[1].weight.flatten(1), pair[0].weight.flatten(1)
    matrix = layer.weight.flatten(1)
    left_out = torch.linalg.svdvals(matrix)[rank:]
    error = (matrix - left @ right).square().sum()
    torch.testing.assert_close(error, left_out.square().sum(), rtol=1e-4, atol=1e-6)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(left @ right, u[:, :rank] * s[:rank] @ v[:rank])
    assert factors_of(layer).size(rank) == sum(half.weight.numel() for half in pair)


def test_the_rank_is_the_least_that_keeps_the_energy() -> None:
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([8.0, 4.0, 4.0, 2.0]).sqrt()))
    found = factors_of(layer)
    energies = [0.01, 4 / 9, 0.45, 6 / 9, 8 / 9, 0.9, 1.0]
    assert [found.rank(energy) for energy in energies] == [1, 1, 2, 2, 3, 4, 4]
    assert saving_rank(found, 0.4) == 1
    assert saving_rank(found, 0.6) is None  # 2 * (4 + 4) weights are no fewer than 16
    assert saving_rank(found, 1.0) is None


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


@pytest.mark.parametrize("net", ["residual", "mlp"])
def test_ranks_by_sensitivity_keep_the_budget_and_are_best_of_all(net: str) -> None:
    task = toy_task(net)
    model = decaying(task.baseline)
    found = factorisable_layers(model, task.example)
    names = list(found)[-2:]
    factors = {name: factors_of(found[name]) for name in names}
    budget = 0.6 * sum(f.full_size for f in factors.values())
    chosen = ranks_by_sensitivity(model, task, factors, budget)

    def cost(name: str, rank: int | None) -> float:
        def change(copy: nn.Module) -> None:
            if rank is not None:
                copy.get_submodule(name).weight.copy_(factors[name].weight(rank))

        with torch.no_grad():
            return sensitivity(model, task, [change])[0]

    def size(name: str, rank: int | None) -> int:
        return factors[name].full_size if rank is None else factors[name].size(rank)

    first, second = names
    options = {n: [1, 2, 3, None] for n in names}  # with halving values, all that the ladder has
    pairs = [
        cost(first, a) + cost(second, b)
        for a in options[first]
        for b in options[second]
        if size(first, a) + size(second, b) <= budget
    ]
    assert sum(size(*item) for item in chosen.items()) <= budget
    assert sum(cost(*item) for item in chosen.items()) <= min(pairs) * 1.01 + 1e-9


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
