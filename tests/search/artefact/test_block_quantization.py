import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from compressors.quantization import Quantization
from compressors.weights.encoded import coded_weights
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.block_quantization import pack_bits, pack_blocks


class Task:
    def __init__(self, example):
        self.example = example

    def train_batches(self, epoch):
        yield self.example, None

    def measured(self, key, measure):
        return measure()


@pytest.mark.parametrize("width", [2, 4, 8])
def test_bits_are_packed_the_first_lowest(width):
    values = np.random.default_rng(0).integers(0, 1 << width, (3, 13)).astype(np.uint8)
    packed = pack_bits(values, width)
    each = 8 // width
    assert packed.shape == (3, -(-13 // each))
    for column in range(13):
        byte = packed[:, column // each] >> (width * (column % each))
        assert (byte & ((1 << width) - 1) == values[:, column]).all()


def test_blocks_are_filled_with_zeros():
    packed = pack_blocks(np.ones((2, 20), np.uint8), 16, 4)
    assert packed.shape == (2, 2, 8)
    assert packed[0].tolist() == [[17] * 8, [17] * 2 + [0] * 6]


def decoded(graph, node):
    """The weight [N, K] of a MatMulNBits node, read as the operator's documentation says."""
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    bits, block, rows, columns = (values[n] for n in ("bits", "block_size", "N", "K"))

    def unpacked(packed):
        parts = packed[..., None] >> (bits * np.arange(8 // bits, dtype=np.uint8))
        return (parts & ((1 << bits) - 1)).reshape(rows, -1).astype(np.float32)

    integers = unpacked(tensors[node.input[1]])[:, :columns]
    scales = tensors[node.input[2]].reshape(rows, -1)
    zeros = np.full_like(scales, 1 << (bits - 1))
    if len(node.input) > 3:
        zeros = unpacked(tensors[node.input[3]].reshape(rows, -1))[:, : scales.shape[1]]
    spread = [np.repeat(v, block, axis=1)[:, :columns] for v in (zeros, scales)]
    return (integers - spread[0]) * spread[1]


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("columns", "block"), [(64, 16), (80, 32), (130, 64)])
def test_packed_weights_are_those_of_the_model(bits, symmetric, columns, block, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(columns, 24), nn.ReLU(), nn.Linear(24, 5, bias=False)).eval()
    step = Quantization(bits=bits, symmetric=symmetric, granularity="group", group_size=block)
    task = Task(torch.randn(6, columns))
    model = step(net, task)
    artefact = write_artefact(model, task, tmp_path)
    graph = onnx.load(artefact.run_path).graph
    nodes = [node for node in graph.node if node.op_type == "MatMulNBits"]
    width = onnx.helper.get_node_attr_value(nodes[0], "bits")
    assert width == (2 if bits == 2 and block == 64 else 4 if bits <= 4 else 8)
    assert np.array_equal(decoded(graph, nodes[0]), coded_weights(model)["0.weight"].decode())
    assert artefact.integer_operators == 2
    assert 30 < artefact.fidelity_db < 100  # activations are really rounded when it runs


@pytest.mark.parametrize("axes", [2, 3])
def test_products_of_sequences_run_in_blocks_too(axes, tmp_path):
    torch.manual_seed(0)
    task = Task(torch.randn(4, *[7] * (axes - 2), 64))
    model = Quantization(bits=4, granularity="group", group_size=32)(nn.Linear(64, 9).eval(), task)
    artefact = write_artefact(model, task, tmp_path)
    session = onnxruntime.InferenceSession(artefact.run_path)
    assert session.get_inputs()[0].shape[0] == "batch"
    nodes = onnx.load(artefact.run_path).graph.node
    assert {"MatMulNBits", "Add"} == {node.op_type for node in nodes}
    assert artefact.fidelity_db > 30
    assert artefact.notes == ()


def test_groups_of_convolutions_run_as_floats_and_say_so(tmp_path):
    torch.manual_seed(0)
    task = Task(torch.randn(2, 8, 6, 6))
    net = nn.Sequential(nn.Conv2d(8, 4, 3), nn.Flatten()).eval()
    model = Quantization(bits=4, granularity="group", group_size=16)(net, task)
    artefact = write_artefact(model, task, tmp_path)
    assert artefact.integer_operators == 0
    assert artefact.fidelity_db > 100
    assert artefact.notes == ("weights of 4 bits are packed, but Conv runs as floats",)


def test_products_in_blocks_and_in_one_group_stand_in_one_file(tmp_path):
    torch.manual_seed(0)
    task = Task(torch.randn(8, 40))
    model = nn.Sequential(nn.Linear(40, 12), nn.ReLU(), nn.Linear(12, 4)).eval()
    coded = Quantization(bits=4, granularity="group", group_size=16)(model, task)
    artefact = write_artefact(coded, task, tmp_path)
    assert {n.op_type for n in onnx.load(artefact.run_path).graph.node} >= {
        "MatMulNBits",
        "MatMulInteger",
    }
    assert artefact.integer_operators == 2
    assert artefact.fidelity_db > 25
