import onnx
import pytest
import torch
from onnx.helper import get_node_attr_value
from torch import nn

from compressors.quantization import Quantization
from compressors.weights.encoded import coded_weights
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.runtime import predictor
from tests.search.artefact.test_artefact import TaskOf


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("columns", "granularity", "width"),
    [(24, "channel", 2), (70, "group", 4), (70, "tensor", 4), (33, "channel", 8)],
)
def test_a_file_gathers_the_weights_of_the_model(
    bits, symmetric, columns, granularity, width, tmp_path
):
    torch.manual_seed(0)
    tokens = torch.randint(0, 40, (3, 7))
    step = Quantization(bits=bits, symmetric=symmetric, granularity=granularity, group_size=16)
    task = TaskOf(tokens)
    model = step(nn.Embedding(40, columns).eval(), task)
    artefact = write_artefact(model, task, tmp_path)
    [node] = onnx.load(artefact.run_path).graph.node
    assert node.op_type == "GatherBlockQuantized"
    assert get_node_attr_value(node, "bits") == max(width, 2 if bits == 2 else 4 if bits < 5 else 8)
    decoded = torch.from_numpy(coded_weights(model)["weight"].decode())
    assert torch.equal(predictor(artefact.run_path)(tokens), decoded[tokens])


class Tied(nn.Module):
    """A language model whose head is the transpose of its embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(40, 256)
        self.head = nn.Linear(256, 40, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(torch.tanh(self.embedding(tokens)))


@pytest.mark.parametrize(
    ("bits", "granularity", "product"),
    [
        (None, "channel", "MatMul"),
        (2, "group", "MatMulNBits"),
        (4, "group", "MatMulNBits"),
        (8, "group", "MatMulNBits"),
        (8, "channel", "MatMulInteger"),
    ],
)
def test_a_tied_head_is_stored_once(bits, granularity, product, tmp_path):
    torch.manual_seed(0)
    task = TaskOf(torch.randint(0, 40, (3, 7)))
    step = Quantization(bits=bits, granularity=granularity, group_size=64)
    artefact = write_artefact(step(Tied().eval(), task), task, tmp_path)
    graph = onnx.load(artefact.run_path).graph
    [table] = [tensor for tensor in graph.initializer if len(tensor.raw_data) >= 1024]
    assert len(table.raw_data) == 40 * 256 * (bits or 32) / 8
    table_operator = "Gather" if bits is None else "GatherBlockQuantized"
    assert {table_operator, product} <= {node.op_type for node in graph.node}
    assert artefact.fidelity_db > (100 if bits is None else 30)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_a_tied_head_with_one_scale_a_row_runs_in_integers(granularity, tmp_path):
    torch.manual_seed(0)
    task = TaskOf(torch.randint(0, 40, (3, 7)))
    model = Quantization(bits=4, granularity=granularity)(Tied().eval(), task)
    artefact = write_artefact(model, task, tmp_path)
    operators = {node.op_type for node in onnx.load(artefact.run_path).graph.node}
    assert {"GatherBlockQuantized", "MatMulInteger"} <= operators
    assert artefact.fidelity_db > 30
