from collections import Counter

import pytest
import torch

from compressors.errors import InfeasibleError
from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from compressors.weights.biases import biases
from compressors.weights.compressible import compressible_weights
from compressors.weights.encoded import coded_weights
from tests.zoo import NETS, toy_task

SCALES = [("tensor", 16), ("channel", 16), ("group", 16), ("group", 32)]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("granularity", "group_size"), SCALES)
@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("net", ["transformer", "depthwise"])
def test_decoded_weight_is_the_weight_to_the_bit(symmetric, granularity, group_size, bits, net):
    task = toy_task(net)
    masked = WeightPruning(ratio=0.4)(task.baseline, task)
    step = Quantization(
        bits=bits, symmetric=symmetric, granularity=granularity, group_size=group_size
    )
    quantised = step(masked, task)
    codes = coded_weights(quantised)
    weights = compressible_weights(quantised)
    for weight, before in zip(weights, compressible_weights(masked), strict=True):
        value, code = weight.value(), codes.pop(weight.name)
        decoded = torch.from_numpy(code.decode())
        assert torch.equal(decoded.view(torch.int32), value.view(torch.int32))
        assert (value[before.value() == 0] == 0).all()
        assert code.bits == bits
        columns = before.value()[0].numel()
        assert code.group == (min(group_size, columns) if granularity == "group" else columns)
        assert code.factor.shape == (len(value), -(-columns // code.group))
    assert all(name.rpartition(".")[2].find("bias") >= 0 for name in codes)


@pytest.mark.parametrize("net", NETS)
def test_biases_are_rounded_to_8_bits_unless_told_otherwise(net):
    task = toy_task(net)
    quantised = Quantization(bits=4)(task.baseline, task)
    codes = coded_weights(quantised)
    before = {bias.name: bias.value() for bias in biases(task.baseline)}
    assert before
    for name, value in before.items():
        decoded = torch.from_numpy(codes[name].decode())
        assert codes[name].indices.shape == (1, len(value))
        assert (decoded - value).abs().max() <= value.abs().max() / 127 / 2 * 1.001
    plain = coded_weights(Quantization(bits=4, biases=False)(task.baseline, task))
    assert plain.keys() == codes.keys() - before.keys()


def test_normalisation_layers_are_left_alone():
    task = toy_task("transformer")
    assert not any("norm" in bias.name for bias in biases(task.baseline))
    assert not any(
        "norm" in name for name in coded_weights(Quantization(bits=4)(task.baseline, task))
    )


def test_finer_scales_lose_less():
    task = toy_task("mlp")
    before = [weight.value() for weight in compressible_weights(task.baseline)]

    def error(granularity):
        step = Quantization(bits=3, granularity=granularity, group_size=16)
        after = compressible_weights(step(task.baseline, task))
        return sum(
            float((old - new.value()).square().sum())
            for old, new in zip(before, after, strict=True)
        )

    assert error("group") < error("channel") < error("tensor")


@pytest.mark.parametrize(
    ("net", "mean"), [("mlp", 2), ("mlp", 3), ("mlp", 8), ("residual", 4.5), ("transformer", 4.5)]
)
def test_bits_by_sensitivity_keep_to_their_mean(net, mean):
    task = toy_task(net)
    step = Quantization(bits=mean, allocation="sensitivity", biases=False)
    codes = coded_weights(step(task.baseline, task)).values()
    total = sum(code.indices.size for code in codes)
    assert sum(code.bits * code.indices.size for code in codes) <= mean * total * (1 + 1e-6)
    assert all(2 <= code.bits <= 8 for code in codes)
    if mean == 4.5:
        assert len(Counter(code.bits for code in codes)) > 1


def test_bits_of_single_layers_are_given_by_pattern():
    task = toy_task("mlp")
    for allocation in ("uniform", "sensitivity"):
        step = Quantization(bits=3, allocation=allocation, layers={"0.*": 8}, biases=False)
        codes = coded_weights(step(task.baseline, task))
        assert codes["0.weight"].bits == 8
        rest = [codes[name] for name in ("2.weight", "4.weight")]
        assert sum(c.bits * c.indices.size for c in rest) <= 3 * sum(c.indices.size for c in rest)


def test_a_pattern_that_matches_no_weight_is_infeasible():
    task = toy_task("mlp")
    with pytest.raises(InfeasibleError, match="fc1"):
        Quantization(bits=3, layers={"fc1*": 8})(task.baseline, task)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bits": 1}, r"bits must be in \[2, 8\]"),
        ({"bits": 9}, r"bits must be in \[2, 8\]"),
        ({"bits": 3.5}, "bits must be a whole number"),
        ({"granularity": "row"}, "granularity must be one of"),
        ({"group_size": 24}, "group_size must be one of"),
        ({"allocation": "global"}, "allocation must be one of"),
        ({"activations": "entropy"}, "activations must be one of"),
        ({"bits": 4, "layers": {"a": 9}}, r"layers\['a'\] must be one of"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Quantization(**values)


def test_layers_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="layers need bits"):
        Quantization(layers={"0.*": 4})
