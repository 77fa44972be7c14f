from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from onnx import numpy_helper
from torch import Tensor, nn

from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from compressors.weights.encoded import coded_weights
from search.artefact.artefact import write_artefact
from search.artefact.baking import bake
from search.artefact.onnx_form.export import simplify
from search.artefact.onnx_form.integer_types import IntegerTypes
from search.artefact.onnx_form.quantization import integer_operators, quantise_onnx
from search.artefact.onnx_form.rewriting.batch_norm_folding import fold_batch_norms
from search.artefact.onnx_form.type_measurement import TYPES
from tests.search.artefact.graphs import exported
from tests.zoo import toy_task


def machine_of(types, *, saturates):
    """A machine on which these types are the fastest."""
    seconds = {name: 1.0 if name == types else 2.0 for name in TYPES}
    return IntegerTypes(
        convolution_seconds=seconds,
        product_seconds={name: seconds[name] for name in TYPES[:2]},
        exact={"U8S8": not saturates, "U8U8": True, "S8S8": True},
    )


def float_graph(model, task):
    plain, codes = bake(model)
    graph = exported(plain, task.example)
    codes = fold_batch_norms(graph, codes)
    return simplify(graph), codes


def outputs(graph, inputs, *, optimised=True):
    options = onnxruntime.SessionOptions()
    if not optimised:  # each rounding by itself, products in floats
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    return session.run(None, {"input": inputs})[0]


def decibels(signal, approximation):
    return 10 * np.log10(np.square(signal).sum() / np.square(signal - approximation).sum())


def stored_types(graph):
    tensors = {t.name: numpy_helper.to_array(t).dtype for t in graph.graph.initializer}
    makers = {node.output[0]: node for node in graph.graph.node}
    for node in graph.graph.node:
        if node.op_type == "Conv":
            yield tensors[makers[node.input[1]].input[0]]


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("net", ["residual", "depthwise"])
@pytest.mark.parametrize(("bits", "symmetric"), [(8, True), (8, False), (4, False)])
def test_every_combination_of_types_computes_the_same(types, net, bits, symmetric):
    task = toy_task(net)
    model = Quantization(bits=bits, symmetric=symmetric)(task.baseline, task)
    graph, codes = float_graph(model, task)
    before = graph.SerializeToString()
    inputs = task.example.numpy()
    machine = machine_of(types, saturates=True)
    calibration = [{"input": task.inputs.numpy()}]
    quantised, notes = quantise_onnx(graph, codes.values(), calibration, machine)
    assert notes == ()
    assert integer_operators(quantised) == sum(
        isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()
    )
    assert set(stored_types(quantised)) == {np.dtype(np.int8 if types[2] == "S" else np.uint8)}
    assert decibels(outputs(graph, inputs), outputs(quantised, inputs)) > 25
    assert graph.SerializeToString() == before


class Followed(nn.Module):
    """Two convolutions and a linear layer; what is between them has kernels on integers."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 32, 3), nn.Conv2d(16, 32, 1)
        self.linear = nn.Linear(32, 5)

    def forward(self, x):
        x = F.relu(self.one(x))
        x = F.leaky_relu(self.two(F.interpolate(x[:, :16] + x[:, 16:], scale_factor=2.0)), 0.1)
        return self.linear(x.mean((2, 3)))


def optimised_operators(graph, path):
    """The operators that ONNX Runtime runs, counted."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    onnxruntime.InferenceSession(graph.SerializeToString(), options)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_all_between_integer_layers_runs_on_integers(tmp_path):
    torch.manual_seed(0)
    task = Data(torch.randn(16, 3, 8, 8))
    model = Quantization(bits=8)(Followed().eval(), task)
    graph, codes = float_graph(model, task)
    inputs = task.example.numpy()
    machine = machine_of("U8S8", saturates=False)
    quantised, _ = quantise_onnx(graph, codes.values(), [{"input": inputs}], machine)
    counts = optimised_operators(quantised, tmp_path / "optimised.onnx")
    assert counts["QuantizeLinear"] == 1  # of the images
    assert counts["DequantizeLinear"] == 0  # the linear layer returns floats
    kernels = ("Conv", "Add", "LeakyRelu", "GlobalAveragePool")
    assert [counts[f"QLinear{kernel}"] for kernel in kernels] == [2, 1, 1, 1]
    assert counts["QGemm"] == 1
    assert decibels(outputs(graph, inputs), outputs(quantised, inputs)) > 35


class OneConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 4, 3, bias=False)

    def forward(self, x):
        return self.conv(x).flatten(1)


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("folded", [False, True], ids=["zero weight", "zero gain of batch-norm"])
@pytest.mark.parametrize("zeros", [[1, 3], [0, 1, 2, 3]], ids=["some", "all"])
def test_a_channel_of_zeros_keeps_its_bias(types, folded, zeros):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    with torch.no_grad():
        (model[1] if folded else model[0]).weight[zeros] = 0
        model[0].bias[zeros] = 0
        model[1].bias[:] = torch.tensor([0.001, -0.004, 0.002, 0.003])
        model[0].weight *= 1e-3
    task = Data(100 * torch.randn(16, 3, 8, 8))
    graph, codes = float_graph(Quantization(bits=8)(model.eval(), task), task)
    inputs = task.example.numpy()
    machine = machine_of(types, saturates=False)
    quantised, _ = quantise_onnx(graph, codes.values(), [{"input": inputs}], machine)
    biases = next(decoded_biases(quantised))
    expected = model[1].bias.detach().numpy()[zeros]
    np.testing.assert_allclose(biases[zeros], expected, rtol=0.02, atol=2e-5)


def decoded_biases(graph):
    """The biases of the convolutions in integers, as floats."""
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    makers = {node.output[0]: node for node in graph.graph.node}
    for node in graph.graph.node:
        if node.op_type == "Conv":
            integers, scale = (tensors[name] for name in makers[node.input[2]].input[:2])
            assert integers.dtype == np.int32
            yield integers * scale


class Data:
    def __init__(self, example):
        self.example = example

    def train_batches(self, epoch):
        yield self.example, None


@pytest.mark.parametrize("saturates", [True, False])
@pytest.mark.parametrize("bits", [7, 8])
def test_headroom_is_left_where_it_is_needed_alone(saturates, bits):
    torch.manual_seed(0)
    task = Data(torch.rand(4, 16, 6, 6))
    model = Quantization(bits=bits)(OneConvolution().eval(), task)
    graph, codes = float_graph(model, task)
    machine = machine_of("U8S8", saturates=saturates)
    calibration = [{"input": task.example.numpy()}]
    quantised, _ = quantise_onnx(graph, codes.values(), calibration, machine)
    tensors = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    scale = float(tensors["input_scale"])
    steps = float(task.example.max()) / scale
    assert steps == pytest.approx(127.5 if saturates and bits == 8 else 255, rel=1e-3)


@pytest.mark.parametrize("activations", ["minmax", "percentile", "mse"])
def test_the_way_of_calibration_reaches_the_file(activations):
    torch.manual_seed(0)
    example = torch.rand(64, 16, 6, 6)
    example[5, 3, 2, 2] = 100.0
    task = Data(example)
    model = Quantization(bits=7, activations=activations)(OneConvolution().eval(), task)
    graph, codes = float_graph(model, task)
    machine = machine_of("U8S8", saturates=True)
    quantised, _ = quantise_onnx(graph, codes.values(), [{"input": example.numpy()}], machine)
    tensors = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    top = 255 * float(tensors["input_scale"])
    assert (top == pytest.approx(100)) == (activations == "minmax")
    assert (top < 3) == (activations == "percentile")


def test_two_ways_of_calibration_are_refused():
    task = toy_task("mlp")
    one = coded_weights(Quantization(bits=8)(task.baseline, task))
    other = coded_weights(Quantization(bits=8, activations="mse")(task.baseline, task))
    with pytest.raises(ValueError, match="one way, got minmax, mse"):
        quantise_onnx(onnx.ModelProto(), [*one.values(), *other.values()], [])


class TwiceAPool(nn.Module):
    """One linear layer on two poolings of a convolution, of which integers reach one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head(x.mean((2, 3))) + self.head(x.amax((2, 3)))


def test_products_are_static_all_or_none(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwiceAPool().eval().requires_grad_(False)
    task = ToyTask(model, torch.randn(32, 3, 8, 8), torch.zeros(32, dtype=torch.long))
    artefact = write_artefact(Quantization(bits=8)(model, task), task, tmp_path)
    assert artefact.integer_operators == 3
    assert artefact.fidelity_db > 30
