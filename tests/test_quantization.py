import pytest
import torch
from torch import Tensor

from compressors.coding import coded_weights
from compressors.quantization import Quantization, UniformQuantizer, fit_grid, integer_range
from compressors.weight_pruning import WeightPruning
from compressors.weights import compressible_weights
from tests.zoo import toy_task


def random_weight(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def quantizer(weight: Tensor, bits: int, *, symmetric: bool, per_channel: bool) -> UniformQuantizer:
    rows = weight.flatten(1) if per_channel else weight.reshape(1, -1)
    scale, zero_point = fit_grid(rows, bits, symmetric=symmetric)
    return UniformQuantizer(scale, zero_point, bits=bits, symmetric=symmetric)


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("symmetric", [True, False])
def test_per_channel_matches_torch(bits: int, symmetric: bool) -> None:
    weight = random_weight(16, 4, 3, 3)
    q = quantizer(weight, bits, symmetric=symmetric, per_channel=True)
    low, high = integer_range(bits, symmetric=symmetric)
    reference = torch.fake_quantize_per_channel_affine(
        weight, q.scale, q.zero_point.int(), 0, low, high
    )
    torch.testing.assert_close(q(weight), reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_per_tensor_matches_torch(symmetric: bool) -> None:
    weight = random_weight(10, 12)
    q = quantizer(weight, 8, symmetric=symmetric, per_channel=False)
    low, high = integer_range(8, symmetric=symmetric)
    reference = torch.fake_quantize_per_tensor_affine(
        weight, float(q.scale), int(q.zero_point), low, high
    )
    torch.testing.assert_close(q(weight.view(1, -1)).view(10, 12), reference, rtol=0, atol=1e-6)


def test_hand_case_symmetric() -> None:
    weight = torch.tensor([[-3.0, 1.0, 0.0, 3.0]])
    scale, zero_point = fit_grid(weight, 3, symmetric=True)
    q = UniformQuantizer(scale, zero_point, bits=3, symmetric=True)
    assert q.integers(weight).tolist() == [[-3, 1, 0, 3]]
    assert (scale.tolist(), zero_point.tolist()) == ([1.0], [0.0])


def test_hand_case_asymmetric() -> None:
    weight = torch.tensor([[-1.0, 0.0, 1.0, 2.0]])
    scale, zero_point = fit_grid(weight, 2, symmetric=False)
    q = UniformQuantizer(scale, zero_point, bits=2, symmetric=False)
    assert q.integers(weight).tolist() == [[0, 1, 2, 3]]
    assert (scale.tolist(), zero_point.tolist()) == ([1.0], [1.0])


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shift", [-5.0, 0.0, 5.0])
def test_zero_is_exact_and_integers_stay_in_range(bits: int, symmetric: bool, shift: float) -> None:
    weight = random_weight(6, 50) + shift
    weight[:, ::3] = 0
    q = quantizer(weight, bits, symmetric=symmetric, per_channel=True)
    low, high = integer_range(bits, symmetric=symmetric)
    assert (q(weight)[:, ::3] == 0).all()
    assert low <= q.integers(weight).min()
    assert q.integers(weight).max() <= high


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("symmetric", [True, False])
def test_clipping_never_loses_to_the_whole_range(bits: int, symmetric: bool) -> None:
    weight = random_weight(8, 200)
    q = quantizer(weight, bits, symmetric=symmetric, per_channel=True)
    low, high = integer_range(bits, symmetric=symmetric)
    span = 2 * weight.abs().amax(1) if symmetric else weight.amax(1) - weight.amin(1)
    scale = span / (high - low)
    zero = torch.zeros(8) if symmetric else (-weight.amin(1) / scale).round()
    whole = UniformQuantizer(scale, zero, bits=bits, symmetric=symmetric)
    error = (q(weight) - weight).square().sum(1)
    assert (error <= (whole(weight) - weight).square().sum(1) * (1 + 1e-5)).all()


def test_a_row_of_zeros_stays_zero() -> None:
    weight = torch.zeros(3, 4)
    for symmetric in (True, False):
        q = quantizer(weight, 4, symmetric=symmetric, per_channel=True)
        assert (q(weight) == 0).all()


def test_gradient_passes_the_rounding() -> None:
    weight = random_weight(4, 5).requires_grad_(True)
    q = quantizer(weight.detach(), 4, symmetric=True, per_channel=True)
    (q(weight) * 3).sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 3).all()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_decoded_weight_is_the_weight_to_the_bit(
    symmetric: bool, per_channel: bool, bits: int
) -> None:
    task = toy_task("transformer")
    masked = WeightPruning(ratio=0.4)(task.baseline, task)
    step = Quantization(bits=bits, symmetric=symmetric, per_channel=per_channel)
    quantised = step(masked, task)
    codes = coded_weights(quantised)
    weights = compressible_weights(quantised)
    assert codes.keys() == {weight.name for weight in weights}
    for weight, before in zip(weights, compressible_weights(masked), strict=True):
        value = weight.value()
        decoded = torch.from_numpy(codes[weight.name].decode())
        assert torch.equal(decoded.view(torch.int32), value.view(torch.int32))
        assert (value[before.value() == 0] == 0).all()
        assert codes[weight.name].bits == bits


def test_scale_and_zero_point_are_recorded() -> None:
    task = toy_task("mlp")
    names = Quantization(bits=8)(task.baseline, task).state_dict()
    assert names["0.parametrizations.weight.0.scale"].shape == (24,)
    one = Quantization(bits=8, per_channel=False, symmetric=False)(task.baseline, task).state_dict()
    assert one["0.parametrizations.weight.0.zero_point"].shape == (1,)


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=r"bits must be in \[2, 8\]"):
        Quantization(bits=bits)
