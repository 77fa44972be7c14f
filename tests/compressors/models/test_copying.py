"""Copies of parametrised models: torch's own deep copy shares the classes that carry them."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from compressors.base import run
from compressors.models.copying import copy_model, restorer
from compressors.models.fused_attention import plain_attention
from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from compressors.weights.codebook import share
from compressors.weights.compressible import compressible_weights
from tests.zoo import NETS, toy_task


class Negative(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return -weight


def test_removing_a_parametrisation_from_the_copy_leaves_the_model() -> None:
    model = nn.Linear(3, 2)
    register_parametrization(model, "weight", Negative())
    before = model.weight.clone()
    remove_parametrizations(copy_model(model), "weight")
    assert torch.equal(model.weight, before)


def test_adding_a_parametrisation_to_the_copy_leaves_the_model() -> None:
    model = nn.LSTM(3, 2)
    register_parametrization(model, "weight_ih_l0", Negative())
    before = model.weight_hh_l0
    register_parametrization(copy_model(model), "weight_hh_l0", Negative())
    assert model.weight_hh_l0 is before


def test_a_copy_shares_only_the_parameters_that_it_is_told_to() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).requires_grad_(False)
    copy = copy_model(model, shared=[model[0].weight])
    assert next(copy.parameters()) is model[0].weight
    assert not {id(t) for t in [*copy.parameters()][1:]} & {id(t) for t in model.parameters()}
    assert not {id(t) for t in copy.buffers()} & {id(t) for t in model.buffers()}


def test_a_recurrent_net_in_mid_training_can_be_copied() -> None:
    model = nn.LSTM(3, 2)
    register_parametrization(model, "weight_ih_l0", Negative())
    model(torch.randn(4, 3))[0].sum().backward()
    copy = copy_model(model)
    assert torch.equal(copy(torch.ones(4, 3))[0], model(torch.ones(4, 3))[0])
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert not any(p.requires_grad for p in copy.parameters())


@pytest.mark.parametrize("net", NETS)
def test_fused_kernels_see_the_parametrised_weights(net: str) -> None:
    task = toy_task(net)
    model = Quantization(bits=3)(WeightPruning(ratio=0.5)(task.baseline, task), task)
    fused = model(task.inputs)
    with plain_attention():
        torch.testing.assert_close(model(task.inputs), fused, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(fused, task.logits)


def in_place(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)


def parametrised(model: nn.Module) -> None:
    for weight in compressible_weights(model):
        share(weight, 3)


def stripped(model: nn.Module) -> None:
    for module in list(model.modules()):
        for name in list(getattr(module, "parametrizations", {})):
            remove_parametrizations(module, name)
    parametrised(model)


def without_children(model: nn.Module) -> None:
    for name, _ in list(model.named_children()):
        setattr(model, name, nn.Identity())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("net", NETS)
def test_a_restored_copy_is_what_it_was_copied_from(net: str, masked: bool) -> None:
    task = toy_task(net)
    model = WeightPruning(ratio=0.5)(task.baseline, task) if masked else task.baseline
    expected, names = run(model, task.inputs), list(model.state_dict())
    copy = copy_model(model)
    restore = restorer(copy, model)
    for change in (in_place, parametrised, stripped, without_children):
        change(copy)
        restore()
        assert list(copy.state_dict()) == names
        assert torch.equal(run(copy, task.inputs), expected)
        for name, value in copy.state_dict().items():
            assert torch.equal(value, model.state_dict()[name])
    parametrised(copy)  # as it can be done to any copy
    assert torch.equal(run(model, task.inputs), expected)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_a_layer_with_a_tensor_of_autograds_graph_is_copied() -> None:
    model = nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(4, 3)))
    inputs = torch.randn(2, 4)
    expected = model(inputs)  # the hook leaves the computed weight in the layer
    assert not model[0].weight.is_leaf
    copy = copy_model(model)
    assert torch.equal(copy(inputs), expected)
    copy[0].weight_g.zero_()
    assert torch.equal(model(inputs), expected)
