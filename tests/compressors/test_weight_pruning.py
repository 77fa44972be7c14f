import pytest
import torch
from torch import nn

from compressors.budget.importance import IMPORTANCES
from compressors.errors import InfeasibleError
from compressors.outputs.divergence import divergence
from compressors.testing.task import ToyTask
from compressors.weight_pruning import WeightPruning
from compressors.weights.compressible import compressible_weights
from tests.zoo import NETS, toy_task


def values(model: nn.Module) -> list[torch.Tensor]:
    return [weight.value() for weight in compressible_weights(model)]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.98])
def test_zeros_are_counted_exactly(net: str, importance: str, ratio: float) -> None:
    task = toy_task(net)
    by_layer = WeightPruning(ratio=ratio, importance=importance)(task.baseline, task)
    for value in values(by_layer):
        assert (value == 0).sum() == int(ratio * value.numel() + 1e-9)
    together = WeightPruning(ratio=ratio, importance=importance, allocation="global")
    masked = values(together(task.baseline, task))
    total = sum(value.numel() for value in masked)
    assert sum(int((value == 0).sum()) for value in masked) == int(ratio * total + 1e-9)
    assert all(value.any() for value in masked)


def test_the_smallest_weights_go_and_the_others_stay() -> None:
    model = nn.Sequential(nn.Linear(4, 1, bias=False)).eval().requires_grad_(False)
    model[0].weight.copy_(torch.tensor([[0.1, -2.0, -0.3, 4.0]]))
    task = ToyTask(model, torch.randn(4, 4), torch.zeros(4, dtype=torch.long))
    pruned = WeightPruning(ratio=0.5)(model, task)
    assert pruned[0].weight.tolist() == [[0.0, -2.0, 0.0, 4.0]]


def test_wanda_ranks_by_the_data() -> None:
    model = nn.Sequential(nn.Linear(2, 1, bias=False)).eval().requires_grad_(False)
    model[0].weight.copy_(torch.tensor([[1.0, 5.0]]))
    inputs = torch.tensor([[1.0, 0.01]]).expand(8, 2)
    task = ToyTask(model, inputs, torch.zeros(8, dtype=torch.long))
    assert WeightPruning(ratio=0.5)(model, task)[0].weight.tolist() == [[0.0, 5.0]]
    by_data = WeightPruning(ratio=0.5, importance="wanda")(model, task)
    assert by_data[0].weight.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("net", ["residual", "transformer", "mlp"])
def test_allocation_by_sensitivity_keeps_the_budget_and_lowers_the_divergence(net: str) -> None:
    task = toy_task(net)
    uniform = WeightPruning(ratio=0.5)(task.baseline, task)
    allocated = WeightPruning(ratio=0.5, allocation="sensitivity")(task.baseline, task)

    def moved(model: nn.Module) -> float:
        return float(divergence(task.outputs, model(task.inputs), task.logits))

    zeros = sum(int((value == 0).sum()) for value in values(allocated))
    total = sum(value.numel() for value in values(allocated))
    assert zeros >= 0.5 * total - len(values(allocated))
    assert moved(allocated) < moved(uniform)


@pytest.mark.parametrize("allocation", ["uniform", "global", "sensitivity"])
def test_all_layers_may_have_ratios_of_their_own(allocation: str) -> None:
    task = toy_task("mlp")
    step = WeightPruning(ratio=0.5, allocation=allocation, layers={"*": 0.75})
    assert [float((value == 0).float().mean()) for value in values(step(task.baseline, task))] == [
        0.75
    ] * 3


def test_layers_have_ratios_of_their_own() -> None:
    task = toy_task("mlp")
    pruned = WeightPruning(ratio=0.5, layers={"0.*": 0.75, "4.*": 0.0})(task.baseline, task)
    assert [float((value == 0).float().mean()) for value in values(pruned)] == [0.75, 0.5, 0.0]
    only = WeightPruning(layers={"2.*": 0.5}, allocation="global")
    assert only.active
    shares = [float((value == 0).float().mean()) for value in values(only(task.baseline, task))]
    assert shares == [0.0, 0.5, 0.0]
    with pytest.raises(InfeasibleError, match=r"pattern 'fc\*' matches none of 0.weight"):
        WeightPruning(ratio=0.5, layers={"fc*": 0.9})(task.baseline, task)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_masks_nest(net: str, importance: str, allocation: str) -> None:
    task = toy_task(net)
    first = WeightPruning(ratio=0.4, importance="taylor")(task.baseline, task)
    second = WeightPruning(ratio=0.7, importance=importance, allocation=allocation)(first, task)
    less = WeightPruning(ratio=0.2, importance=importance, allocation=allocation)(first, task)
    for earlier, later, same in zip(values(first), values(second), values(less), strict=True):
        assert (later[earlier == 0] == 0).all()
        assert torch.equal(same == 0, earlier == 0)


def test_tied_weights_share_one_mask() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)).eval().requires_grad_(False)
    model[2].weight = model[0].weight
    pruned = WeightPruning(ratio=0.5)(model, toy_task("mlp"))
    assert pruned[0].parametrizations.weight[0] is pruned[2].parametrizations.weight[0]
    assert len(compressible_weights(pruned)) == 1
    assert sum(p.numel() for p in pruned.parameters()) == sum(p.numel() for p in model.parameters())


def test_attention_and_recurrent_weights_are_found_and_norms_are_not() -> None:
    transformer = {weight.name for weight in compressible_weights(NETS["transformer"]())}
    assert "encoder.layers.0.self_attn.in_proj_weight" in transformer
    assert "encoder.layers.0.self_attn.out_proj.weight" in transformer
    assert not any("norm" in name for name in transformer)
    recurrent = {weight.name for weight in compressible_weights(NETS["recurrent"]())}
    assert recurrent == {"lstm.weight_ih_l0", "lstm.weight_hh_l0", "head.weight"}
    assert compressible_weights(nn.LayerNorm((4, 4))) == []


def test_ratio_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ratio must be in \[0, 1\), got 1"):
        WeightPruning(ratio=1.0)
