"""Bit operations are those of the file, counted alike by torch for a file in floats."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from compressors.base import Compressor
from compressors.models.calibration import few
from compressors.quantization import Quantization
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.bit_operations import bit_operations, layer_operations
from search.artefact.onnx_form.export import feeds
from search.trial.model_counts import count_macs
from tests.search.artefact.test_artefact import TaskOf, compressed
from tests.search.artefact.test_float_fallback import quantised
from tests.zoo import NETS, toy_task

FLOATS = (32, 32)
INTEGERS: dict[str, tuple[list[Compressor], tuple[int, int]]] = {
    "8 bits": ([Quantization(bits=8)], (8, 8)),
    "4 bits": ([Quantization(bits=4)], (4, 8)),
    "packed as floats": ([Quantization(bits=4, activations="float")], FLOATS),
}


@pytest.mark.parametrize("net", NETS)
def test_a_file_in_floats_has_32_by_32_bits_for_each_operation_that_torch_counts(
    net: str, tmp_path: Path
) -> None:
    task = toy_task(net)
    found = write_artefact(task.baseline, task, tmp_path).bit_operations
    assert found == 32 * 32 * count_macs(task.baseline, task.example)


@pytest.mark.parametrize(
    ("net", "compression"),
    [("residual", "8 bits"), ("recurrent", "4 bits"), ("mlp", "packed as floats")],
)
def test_the_bits_are_those_that_the_file_multiplies(
    net: str, compression: str, tmp_path: Path
) -> None:
    steps, bits = INTEGERS[compression]
    model, task = compressed(net, steps)
    found = write_artefact(model, task, tmp_path).bit_operations
    assert found == bits[0] * bits[1] * count_macs(model, task.example)


def test_products_of_two_activations_stay_in_floats(tmp_path: Path) -> None:
    model, task = compressed("transformer", INTEGERS["8 bits"][0])
    path = write_artefact(model, task, tmp_path).run_path
    layers = layer_operations(onnx.load(path), feeds(few(task.example)))
    floats = sum(layer.macs for layer in layers if layer.weight_bits == 32)
    width, tokens, blocks = 16, 12, 3
    assert floats == 2 * tokens * tokens * width * blocks
    assert {(one.weight_bits, one.activation_bits) for one in layers} == {(8, 8), FLOATS}


def test_layers_that_fell_back_to_floats_count_as_floats(tmp_path: Path) -> None:
    layers, around_the_outlier = 6, 2
    model, task = quantised(layers, (1,))
    artefact = write_artefact(model, task, tmp_path)
    assert artefact.integer_operators == layers - around_the_outlier
    macs = 8 * 8 * 3 * 3 * 6 * 6
    by_hand = macs * (around_the_outlier * 32 * 32 + (layers - around_the_outlier) * 8 * 8)
    assert artefact.bit_operations == by_hand


def test_packed_groups_have_the_width_of_their_operator(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 8)).eval().requires_grad_(False)
    task = TaskOf(torch.randn(4, 64))
    grouped = Quantization(bits=4, granularity="group", group_size=32)(model, task)
    found = write_artefact(grouped, task, tmp_path)
    assert found.bit_operations == 64 * 8 * 4 * 8


class Products(nn.Module):
    """A transposed convolution and a product written as an Einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 6, 2, stride=2)
        self.mix = nn.Parameter(torch.randn(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,cd->bdhw", self.up(x), self.mix)


def test_transposed_convolutions_and_einsums_counted_by_hand(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Products().eval().requires_grad_(False)
    found = write_artefact(model, TaskOf(torch.randn(3, 4, 8, 8)), tmp_path).bit_operations
    up, mix = 8 * 8 * 4 * 6 * 2 * 2, 16 * 16 * 6 * 5
    assert found == 32 * 32 * (up + mix)


def test_a_file_that_multiplies_nothing_has_none() -> None:
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "empty",
        [tensor("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [tensor("y", onnx.TensorProto.FLOAT, ["n", 2])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    assert bit_operations(model, {"x": torch.zeros(2, 2).numpy()}) == 0
