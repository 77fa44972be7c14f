import math

import pytest
import torch
from torch import Tensor

from compressors.models.copying import copy_model
from compressors.quantization import Quantization
from compressors.training.loop import TrainingSettings, train
from compressors.weights.compressible import compressible_weights
from compressors.weights.grid_fitting import IntegerGrid, fit_grid
from compressors.weights.uniform_quantizer import (
    QuantizerSettings,
    UniformQuantizer,
    quantizer_for,
)
from tests.zoo import toy_task


def random_weight(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def quantizer(
    weight: Tensor, bits: int, *, symmetric: bool = True, granularity: str = "channel"
) -> UniformQuantizer:
    settings = QuantizerSettings(
        bits=bits, symmetric=symmetric, granularity=granularity, group_size=16
    )
    return quantizer_for(weight, settings)


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_scale_a_channel_matches_torch(bits: int, symmetric: bool) -> None:
    weight = random_weight(16, 4, 3, 3)
    q = quantizer(weight, bits, symmetric=symmetric)
    grid = IntegerGrid(bits=bits, symmetric=symmetric)
    reference = torch.fake_quantize_per_channel_affine(
        weight, q.scale[:, 0].detach(), q.zero_point[:, 0].int(), 0, grid.low, grid.high
    )
    torch.testing.assert_close(q(weight), reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_one_scale_matches_torch(symmetric: bool) -> None:
    weight = random_weight(10, 12)
    q = quantizer(weight, 8, symmetric=symmetric, granularity="tensor")
    grid = IntegerGrid(bits=8, symmetric=symmetric)
    reference = torch.fake_quantize_per_tensor_affine(
        weight, float(q.scale.detach()), int(q.zero_point), grid.low, grid.high
    )
    torch.testing.assert_close(q(weight), reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("columns", [16, 40, 5])
def test_groups_are_quantised_each_by_itself(symmetric: bool, columns: int) -> None:
    weight = random_weight(6, columns)
    q = quantizer(weight, 4, symmetric=symmetric, granularity="group")
    for number, part in enumerate(weight.split(16, dim=1)):
        alone = quantizer(part, 4, symmetric=symmetric)
        torch.testing.assert_close(q.scale[:, number], alone.scale[:, 0])
        torch.testing.assert_close(q(weight).split(16, dim=1)[number], alone(part))


def test_hand_case_symmetric() -> None:
    weight = torch.tensor([[-3.0, 1.0, 0.0, 3.0]])
    q = quantizer(weight, 3)
    assert q.integers(weight).tolist() == [[-3, 1, 0, 3]]
    assert (q.scale.tolist(), q.zero_point.tolist()) == ([[1.0]], [[0.0]])


def test_hand_case_asymmetric() -> None:
    weight = torch.tensor([[-1.0, 0.0, 1.0, 2.0]])
    q = quantizer(weight, 2, symmetric=False)
    assert q.integers(weight).tolist() == [[0, 1, 2, 3]]
    assert (q.scale.tolist(), q.zero_point.tolist()) == ([[1.0]], [[1.0]])


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shift", [-5.0, 0.0, 5.0])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
def test_zero_is_exact_and_integers_stay_in_range(
    bits: int, symmetric: bool, shift: float, granularity: str
) -> None:
    weight = random_weight(6, 50) + shift
    weight[:, ::3] = 0
    q = quantizer(weight, bits, symmetric=symmetric, granularity=granularity)
    grid = IntegerGrid(bits=bits, symmetric=symmetric)
    assert (q(weight)[:, ::3] == 0).all()
    assert grid.low <= q.integers(weight).min()
    assert q.integers(weight).max() <= grid.high


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("symmetric", [True, False])
def test_clipping_never_loses_to_the_whole_range(bits: int, symmetric: bool) -> None:
    weight = random_weight(8, 200)
    grid = IntegerGrid(bits=bits, symmetric=symmetric)
    span = 2 * weight.abs().amax(1) if symmetric else weight.amax(1) - weight.amin(1)
    scale = (span / (grid.high - grid.low))[:, None]
    zero = torch.zeros(8, 1) if symmetric else (-weight.amin(1)[:, None] / scale).round()
    whole = UniformQuantizer(scale, zero, grid=grid, group=200)
    error = (quantizer(weight, bits, symmetric=symmetric)(weight) - weight).square().sum(1)
    assert (error <= (whole(weight) - weight).square().sum(1) * (1 + 1e-5)).all()


@pytest.mark.parametrize("value", [0.0, 1e-45])
def test_a_row_of_zeros_stays_zero(value: float) -> None:
    weight = torch.full((3, 4), value)
    for symmetric in (True, False):
        assert (fit_grid(weight, IntegerGrid(bits=4, symmetric=symmetric))[0] == 1).all()
        assert (quantizer(weight, 4, symmetric=symmetric)(weight) == 0).all()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
def test_gradients_are_those_of_learned_step_sizes(symmetric: bool, granularity: str) -> None:
    weight = random_weight(4, 40).requires_grad_(True)
    q = quantizer(weight.detach(), 3, symmetric=symmetric, granularity=granularity)
    q.requires_grad_(True)
    upstream = random_weight(4, 40).flip(0)
    (q(weight) * upstream).sum().backward()
    expected = torch.zeros_like(q.scale)
    for r in range(4):
        for n in range(40):
            place = (
                r if granularity != "tensor" else 0,
                n // 16 if granularity == "group" else 0,
            )
            scale, zero = float(q.scale[place].detach()), float(q.zero_point[place])
            steps = float(weight.detach()[r, n]) / scale
            inside = q.low - zero <= steps <= q.high - zero
            slope = float(upstream[r, n]) if inside else 0.0
            assert float(weight.grad[r, n]) == pytest.approx(slope, rel=1e-5)
            clipped = min(max(round(steps), q.low - zero), q.high - zero)
            slope = clipped - steps if inside else clipped
            expected[place] += float(upstream[r, n]) * slope
    damping = 1 / math.sqrt(weight.numel() / q.scale.numel() * q.high)
    torch.testing.assert_close(
        q.log_scale.grad, (expected * q.scale * damping).flatten(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("net", ["mlp", "recurrent"])
def test_scales_are_trained_and_stay_positive(net: str) -> None:
    task = toy_task(net)
    model = copy_model(Quantization(bits=3)(task.baseline, task))
    before = [w.chain()[-1].scale.clone() for w in compressible_weights(model)]
    model.requires_grad_(True)
    train(
        model,
        task.train_batches,
        task.loss,
        TrainingSettings(epochs=2, learning_rate=0.5, weight_decay=1.0),
    )
    after = [w.chain()[-1].scale for w in compressible_weights(model)]
    assert all((new > 0).all() for new in after)
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_trained_scales_beat_fixed_ones() -> None:
    def loss(*, learned: bool) -> float:
        task = toy_task("mlp")
        torch.manual_seed(0)
        model = copy_model(Quantization(bits=2, biases=False)(task.baseline, task))
        model.requires_grad_(True)
        for weight in compressible_weights(model):
            weight.chain()[-1].log_scale.requires_grad_(learned)
        train(model, task.train_batches, task.loss, TrainingSettings(epochs=6, learning_rate=5e-3))
        with torch.no_grad():
            return float(task.loss(model(task.inputs), task.targets))

    assert loss(learned=True) < loss(learned=False)
