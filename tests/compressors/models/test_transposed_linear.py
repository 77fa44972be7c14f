"""Layers that hold their weight transposed become plain linear layers."""

import torch
from torch import Tensor, nn

from compressors.low_rank import LowRank
from compressors.models.copying import copy_model
from compressors.models.transposed_linear import make_transposed_linear_plain
from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from compressors.weights.encoded import coded_weights


class Conv1D(nn.Module):
    """As in GPT-2: `x @ weight + bias`."""

    def __init__(self, inputs: int, outputs: int, sign: float = 1.0) -> None:
        super().__init__()
        self.nf, self.sign = outputs, sign
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.sign * torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(
            *x.shape[:-1], self.nf
        )


def net(**first: float) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(16, 32, **first), nn.ReLU(), Conv1D(32, 16), nn.Linear(16, 4))
    return model.eval().requires_grad_(False)


def test_outputs_names_and_flags_stay_and_axes_change_places() -> None:
    model, x = net(), torch.randn(3, 5, 16)
    model[0].weight.requires_grad_(True)
    expected, names = model(x).detach(), [name for name, _ in model.named_parameters()]
    assert make_transposed_linear_plain(model) == ["0", "2"]
    torch.testing.assert_close(model(x), expected)
    assert [name for name, _ in model.named_parameters()] == names
    assert model[0].weight.shape == (32, 16)
    assert model[0].weight.requires_grad
    assert not model[2].weight.requires_grad


def test_a_layer_of_that_name_that_computes_something_else_stays() -> None:
    model = net(sign=-1.0)
    assert make_transposed_linear_plain(model) == ["2"]


def test_a_layer_whose_weight_is_shared_or_that_has_hooks_stays() -> None:
    model = net()
    model.twin = Conv1D(16, 32)
    model.twin.weight = model[0].weight
    model[2].register_forward_hook(lambda *_: None)
    assert make_transposed_linear_plain(model) == []


def test_the_model_that_was_copied_keeps_its_layers() -> None:
    model = net()
    assert isinstance(copy_model(model)[0], nn.Linear)
    assert isinstance(model[0], Conv1D)


def test_compressors_take_it_for_a_linear_layer() -> None:
    model = net()
    task = ToyTask(model, torch.randn(64, 16), torch.arange(64) % 4)
    smaller = LowRank(lost_energy=0.7)(model, task)
    assert isinstance(smaller[0], nn.Sequential)
    codes = coded_weights(Quantization(bits=4)(model, task))
    assert codes["0.weight"].factor.shape == (32, 1)  # one scale an output
