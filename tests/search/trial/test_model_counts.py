import numpy as np
import pytest
import torch
from torch import nn

from compressors.models.copying import copy_model
from compressors.weight_pruning import WeightPruning
from search.errors import MeasurementError
from search.trial.model_counts import (
    ModelCounts,
    achieved,
    count_macs,
    count_model,
    count_nonzeros,
    count_parameters,
    weights_moved,
)
from tests.zoo import NETS, toy_task


def test_multiply_accumulates_counted_by_hand():
    linear = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    assert count_macs(linear, torch.randn(4, 7)) == 7 * 5 + 5 * 3
    convolution = nn.Conv2d(4, 6, 3, padding=1, groups=2)
    assert count_macs(convolution, torch.randn(2, 4, 8, 9)) == 6 * (4 // 2) * 9 * 8 * 9
    lstm = nn.LSTM(5, 7, num_layers=2, batch_first=True)
    steps = 4 * 7 * (5 + 7) + 4 * 7 * (7 + 7)
    lstm.flatten_parameters()
    assert count_macs(First(lstm), torch.randn(3, 11, 5)) == 11 * steps


class First(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)[0]


def test_multiply_accumulates_of_a_transformer_counted_by_hand():
    width, hidden, tokens, layers = 16, 32, 12, 3
    projections = 4 * width * width + 2 * width * hidden
    attention = 2 * tokens * width
    head = 4 * width
    by_hand = layers * tokens * (projections + attention) + head
    assert count_macs(NETS["transformer"](), toy_task("transformer").example) == by_hand


@pytest.mark.parametrize("net", NETS)
def test_multiply_accumulates_do_not_depend_on_the_batch(net):
    task = toy_task(net)
    assert count_macs(task.baseline, task.inputs[:2]) == count_macs(task.baseline, task.inputs[:9])


def test_a_model_without_counted_operations_is_an_error():
    with pytest.raises(MeasurementError, match="macs is 0"):
        count_macs(nn.ReLU(), torch.randn(2, 3))


@pytest.mark.parametrize("net", NETS)
def test_parameters_and_zeros(net):
    task = toy_task(net)
    parameters = sum(p.numel() for p in task.baseline.parameters())
    assert count_parameters(task.baseline) == parameters
    pruned = WeightPruning(ratio=0.5)(task.baseline, task)
    assert count_parameters(pruned) == parameters
    by_hand = 0
    for name, value in task.baseline.named_parameters():
        module, leaf = name.rpartition(".")[::2]
        assert value.shape == getattr(pruned.get_submodule(module), leaf).shape
        by_hand += int(getattr(pruned.get_submodule(module), leaf).count_nonzero())
    assert count_nonzeros(pruned) == by_hand < count_nonzeros(task.baseline)


def test_a_shared_weight_counts_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert count_parameters(nn.Sequential(first, second)) == 4 * 4 + 2 * 4


def test_known_networks_are_counted_as_by_hand():
    assert count_model(NETS["mlp"]()) == ModelCounts(
        parameters=17 * 24 + 25 * 24 + 25 * 4,
        nonzeros=17 * 24 + 25 * 24 + 25 * 4,
        layers=3,
        channels=24 + 24 + 4,
    )
    residual = count_model(NETS["residual"]())
    assert (residual.layers, residual.channels) == (1 + 6 + 1, 7 * 16 + 4)
    recurrent = count_model(NETS["recurrent"]())
    assert (recurrent.layers, recurrent.channels) == (2, 16 + 4)


def test_achieved_shares():
    before = ModelCounts(parameters=1000, nonzeros=1000, layers=10, channels=200)
    after = ModelCounts(parameters=400, nonzeros=100, layers=8, channels=50)
    assert achieved(before, after) == pytest.approx(
        {
            "parameters_removed": 0.6,
            "zeros": 0.75,
            "channels_removed": 0.75,
            "layers_removed": 0.2,
        }
    )
    nothing = ModelCounts(parameters=0, nonzeros=0, layers=0, channels=0)
    assert not any(achieved(nothing, nothing).values())
    assert np.isfinite(list(achieved(nothing, before).values())).all()


def test_weights_move_by_a_share_of_their_length() -> None:
    model = nn.Linear(2, 2)
    nn.utils.vector_to_parameters(torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0, 0.0]), model.parameters())
    moved = copy_model(model)
    assert weights_moved(model, moved) == 0
    moved.bias += torch.tensor([0.0, 0.5])
    assert weights_moved(model, moved) == pytest.approx(0.1)
    masked = WeightPruning(ratio=0.5)(moved, None)  # type: ignore[arg-type]
    assert weights_moved(moved, masked) == 0  # the two that are zero already
    assert weights_moved(model, nn.Linear(3, 5)) == 0  # nothing that could be compared
    assert weights_moved(nn.Identity(), nn.Identity()) == 0


def test_a_tied_weight_counts_once_with_and_without_a_mask() -> None:
    model = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 50, bias=False))
    model[1].weight = model[0].weight
    masked = WeightPruning(ratio=0.5)(model, None)  # type: ignore[arg-type]
    assert (count_model(model).parameters, count_model(masked).parameters) == (400, 400)
    assert (count_model(model).nonzeros, count_model(masked).nonzeros) == (400, 200)
