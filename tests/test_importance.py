import pytest
import torch
from torch import nn

from compressors.base import run
from compressors.importance import contribution, energy
from compressors.weight_pruning import WeightPruning
from tests.zoo import NETS, ToyTask, toy_task


def test_contribution_by_hand() -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=False)).eval().requires_grad_(False)
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    task = ToyTask(model, inputs, torch.zeros(8, dtype=torch.long))
    weight = model[0].weight
    gradient = (inputs @ weight.T).T @ inputs / 8
    expected = (weight * gradient).abs()
    torch.testing.assert_close(contribution(model, task)["0.weight"], expected)


@pytest.mark.parametrize("net", NETS)
def test_contribution_matches_finite_differences(net: str) -> None:
    task = toy_task(net)
    task.inputs, task.targets = task.inputs[:8], task.targets[:8]
    if task.inputs.is_floating_point():
        task.inputs = task.inputs.double()
    model = task.baseline.double()
    scores = contribution(model, task)
    step = 1e-6
    for name, parameter in list(model.named_parameters())[:4]:
        place = scores[name].flatten().argmax()
        flat = parameter.view(-1)
        value = float(flat[place])
        energies = []
        for moved in (value + step, value - step):
            flat[place] = moved
            energies.append(float(energy(run(model, task.inputs))))
        flat[place] = value
        slope = (energies[0] - energies[1]) / (2 * step)
        assert float(scores[name].flatten()[place]) == pytest.approx(abs(value * slope), rel=1e-4)


@pytest.mark.parametrize("net", NETS)
def test_masked_weights_contribute_nothing_and_no_gradient_is_left(net: str) -> None:
    task = toy_task(net)
    masked = WeightPruning(ratio=0.5)(task.baseline, task)
    scores = contribution(masked, task)
    for name, buffer in masked.named_buffers():
        if name.endswith(".mask"):
            stored = name.removesuffix("0.mask") + "original"
            assert (scores[stored][~buffer] == 0).all()
            assert scores[stored].any()
    assert all(p.grad is None and not p.requires_grad for p in masked.parameters())


def test_only_the_asked_number_of_samples_is_used() -> None:
    task = toy_task("mlp")
    drawn = 0

    def count(module: nn.Module, args: tuple[torch.Tensor]) -> None:
        nonlocal drawn
        drawn += len(args[0])

    hooked = task.baseline
    hooked.register_forward_pre_hook(count)
    contribution(hooked, task, samples=100)
    assert drawn == 128  # two whole batches of 64
