from copy import deepcopy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from compressors.base import run
from compressors.kinds import CompressorKind
from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from compressors.weights.encoded import coded_weights
from search.artefact.artefact import write_artefact
from search.artefact.baking import bake
from search.artefact.onnx_form.runtime import predictor
from search.artefact.packed_form.unpack import unpack
from search.errors import ArtefactError
from tests.zoo import NETS, toy_task

COMPRESSIONS = {
    "none": [],
    "zeros": [WeightPruning(ratio=0.8)],
    "zeros, clusters": [WeightPruning(ratio=0.8), WeightSharing(clusters=16)],
    "4 bits": [Quantization(bits=4, activations="float")],
    "3 bits, asymmetric": [
        Quantization(bits=3, symmetric=False, granularity="tensor", activations="float")
    ],
    "8 bits in groups": [Quantization(bits=8, granularity="group", activations="float")],
    "8 bits": [Quantization(bits=8)],
    "8 bits, asymmetric": [Quantization(bits=8, symmetric=False)],
    "5 bits in integers": [Quantization(bits=5, symmetric=False, activations="mse")],
    "4 bits in integers": [Quantization(bits=4, granularity="tensor", activations="percentile")],
}
IN_INTEGERS = [
    name
    for name, steps in COMPRESSIONS.items()
    if any(
        s.kind is CompressorKind.ENCODES_WEIGHTS and getattr(s, "activations", "float") != "float"
        for s in steps
    )
]


class TaskOf:
    """A task of random inputs for one model."""

    def __init__(self, example):
        self.example = example

    def train_batches(self, epoch):
        yield self.example, None

    def measured(self, key, measure):
        return measure()


def compressed(net, steps):
    task = toy_task(net)
    model = task.baseline
    with_statistics(model)
    for step in steps:
        model = step(model, task)
    return model, task


def with_statistics(model):
    """Give the batch-norms something to fold, scales of both signs."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            for tensor, low in (
                (module.weight, -1.0),
                (module.bias, -1.0),
                (module.running_mean, -1.0),
                (module.running_var, 0.5),
            ):
                tensor.data.uniform_(low, 1.5, generator=generator)
    return model


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_both_files_hold_the_model(net, compression, tmp_path):
    model, task = compressed(net, COMPRESSIONS[compression])
    artefact = write_artefact(model, task, tmp_path / "new")
    assert artefact.run_bytes == artefact.run_path.stat().st_size
    assert artefact.size_bytes == artefact.ship_path.stat().st_size < artefact.run_bytes
    assert unpack(artefact.ship_path.read_bytes()) == artefact.run_path.read_bytes()
    assert artefact.fidelity_db > (25 if compression in IN_INTEGERS else 100)
    assert (artefact.integer_operators > 0) == (compression in IN_INTEGERS)
    predict = predictor(artefact.run_path)
    assert predict(task.inputs[:7]).shape == run(model, task.inputs[:7]).shape
    assert torch.equal(predict(task.inputs[:7]), predict(task.inputs[:7]))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("compression", IN_INTEGERS)
def test_integer_operators_are_the_fast_ones(net, compression, tmp_path):
    model, task = compressed(net, COMPRESSIONS[compression])
    artefact = write_artefact(model, task, tmp_path)
    nodes = onnx.load(artefact.run_path).graph.node
    operators = {node.op_type for node in nodes}
    assert "ConvInteger" not in operators
    assert not operators & {"LSTM", "BatchNormalization"}
    kinds = nn.Conv2d | nn.Embedding | nn.Linear | nn.LSTM | nn.MultiheadAttention
    layers = sum(isinstance(module, kinds) for module in model.modules())
    assert artefact.integer_operators == layers


@pytest.mark.parametrize("net", NETS)
def test_encoded_weights_reach_the_packed_file_as_integers(net, tmp_path):
    model, task = compressed(net, COMPRESSIONS["4 bits"])
    size = write_artefact(model, task, tmp_path).size_bytes
    codes = coded_weights(model).values()
    with_scales = sum(code.indices.size / 2 + 4 * len(code.indices) for code in codes)
    others = 4 * sum(p.numel() for n, p in bake(model)[0].named_parameters() if p.ndim < 2)
    assert size < with_scales + others + 5000


def rows_of(tensor):
    """Rows in every layout in which the runtime's operators keep a weight."""
    for view in (tensor, np.swapaxes(tensor, -1, -2)):
        for rows in (view.reshape(len(view), -1), view.reshape(-1, view.shape[-1])):
            for row in np.ascontiguousarray(rows):
                yield from (row.tobytes(), (-row).tobytes())


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("compression", ["8 bits", "5 bits in integers", "4 bits in integers"])
def test_integers_of_a_weight_are_those_in_the_file(net, compression, tmp_path):
    model, task = compressed(net, COMPRESSIONS[compression])
    with torch.no_grad():  # as training may leave it: the range of the integers is not filled
        for name, parameter in model.named_parameters():
            parameter *= 1.0 if name.endswith("log_scale") else 0.7
    graph = onnx.load(write_artefact(model, task, tmp_path).run_path).graph
    stored = [numpy_helper.to_array(t) for t in graph.initializer if len(t.dims) > 1]
    signed = [t.astype(np.int16) - 128 * (t.dtype == np.uint8) for t in stored if t.itemsize == 1]
    known = {row for tensor in signed for row in rows_of(tensor.astype(np.int16))}
    for name, code in coded_weights(model).items():
        if "embedding" not in name and len(code.shape) > 1:
            integers = (code.levels[code.indices] - code.offset).astype(np.int16)
            assert all(row.tobytes() in known for row in integers), name


class Sums(nn.Module):
    """Large products of one sign, which overflow 16 bits where a CPU adds them up in pairs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 4, 3, bias=False)
        nn.init.constant_(self.conv.weight, 0.3)

    def forward(self, x):
        return self.conv(x).flatten(1)


def test_integer_sums_do_not_saturate(tmp_path):
    torch.manual_seed(0)
    task = TaskOf(1 - 0.3 * torch.rand(4, 16, 6, 6))
    model = Quantization(bits=8)(Sums().eval(), task)
    artefact = write_artefact(model, task, tmp_path)
    assert artefact.integer_operators == 1
    assert artefact.fidelity_db > 35


def test_layers_whose_activations_stay_floats_run_in_floats(tmp_path):
    task = toy_task("residual")
    model = with_statistics(task.baseline)
    eight = Quantization(bits=8)(model, task)
    four = Quantization(bits=4, activations="float")(model, task)
    eight.blocks[1] = four.blocks[1]
    artefact = write_artefact(eight, task, tmp_path)
    assert artefact.integer_operators == 6
    assert artefact.notes == ("weights of 4 bits are packed, but Conv runs as floats",)


@pytest.mark.parametrize("net", NETS)
def test_the_model_is_unchanged_and_its_file_always_the_same(net, tmp_path):
    model, task = compressed(net, [WeightPruning(ratio=0.5), Quantization(bits=8)])
    before = deepcopy(model.state_dict())
    expected = run(model, task.example)
    first = write_artefact(model, task, tmp_path / "a")
    second = write_artefact(model, task, tmp_path / "b")
    assert torch.equal(run(model, task.example), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert first.run_path.read_bytes() == second.run_path.read_bytes()
    assert first.ship_path.read_bytes() == second.ship_path.read_bytes()


def test_batch_norms_are_folded_into_the_layers_before_them(tmp_path):
    model, task = compressed("residual", [])
    path = write_artefact(model, task, tmp_path).run_path
    assert not any(node.op_type == "BatchNormalization" for node in onnx.load(path).graph.node)


class SharedOutput(nn.Module):
    """The convolution's output is used before and after the batch-norm, which so must stay."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return y + self.norm(y)


class CalledTwice(nn.Module):
    """One convolution is followed by two batch-norms."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(2), nn.BatchNorm2d(2)])

    def forward(self, x):
        return self.norms[1](self.conv(self.norms[0](self.conv(x))))


class Normed(nn.Module):
    """Batch-norm after a linear layer and after nothing that could take it."""

    def __init__(self):
        super().__init__()
        self.first = nn.BatchNorm1d(6)
        self.linear = nn.Linear(6, 5)
        self.last = nn.BatchNorm1d(5)

    def forward(self, x):
        return self.last(self.linear(self.first(x)))


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 3, 2, stride=2)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.up(x))


@pytest.mark.parametrize(
    ("net", "shape", "left"),
    [
        (SharedOutput, (4, 2, 5, 5), 1),
        (CalledTwice, (4, 2, 5, 5), 0),
        (Normed, (4, 6), 1),
        (Transposed, (4, 2, 5, 5), 1),
    ],
)
@pytest.mark.parametrize("bits", [None, 5, 8])
def test_folding_keeps_what_the_model_computes(net, shape, left, bits, tmp_path):
    torch.manual_seed(0)
    task = TaskOf(torch.randn(shape))
    activations = "minmax" if bits == 8 else "float"
    model = with_statistics(net()).eval()
    model = Quantization(bits=bits, activations=activations)(model, task)
    artefact = write_artefact(model, task, tmp_path)
    assert artefact.fidelity_db > (25 if bits == 8 else 100)
    assert any(f"{left} batch-norm" in note for note in artefact.notes) == bool(left)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.linear = nn.Linear(5, 3)

    def forward(self, tokens, weights):
        return self.linear((self.embedding(tokens) * weights[..., None]).sum(1))


@pytest.mark.parametrize("named", [True, False])
def test_inputs_may_be_positional_or_named(named, tmp_path):
    torch.manual_seed(0)
    inputs = (torch.randint(0, 7, (4, 6)), torch.rand(4, 6))
    example = dict(zip(("tokens", "weights"), inputs, strict=True)) if named else inputs
    model = TwoInputs().eval()
    artefact = write_artefact(model, TaskOf(example), tmp_path)
    session = onnxruntime.InferenceSession(artefact.run_path)
    names = [value.name for value in session.get_inputs()]
    assert names == (["tokens", "weights"] if named else ["input_0", "input_1"])
    assert [value.shape[0] for value in session.get_inputs()] == ["batch", "batch"]
    assert [value.name for value in session.get_outputs()] == ["output"]
    assert torch.allclose(predictor(artefact.run_path)(example), model(*inputs), atol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("bits", [None, 4, 8])
def test_recurrent_layers_in_both_directions(kind, layers, bits, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = kind(6, 8, layers, batch_first=True, bidirectional=True)

        def forward(self, x):
            return self.rnn(x)[0]

    torch.manual_seed(0)
    task = TaskOf(torch.randn(4, 5, 6))
    model = Quantization(bits=bits)(Net().eval(), task)
    artefact = write_artefact(model, task, tmp_path)
    integers = bits is not None and kind is nn.LSTM
    assert artefact.fidelity_db > (25 if integers else 100)
    assert artefact.integer_operators == (layers if integers else 0)
    if bits is not None and kind is nn.GRU:
        note = f"weights of {bits} bits are packed, but GRU runs as floats"
        assert artefact.notes == (note,)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x) if len(x) > 1 else x


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return torch.linalg.matrix_exp(self.linear(x))


class NotFinite(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x) / 0


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (Branching, (3, 4), "branch on its inputs or their batch size"),
        (Complex, (3, 4, 4), "no ONNX form"),
        (NotFinite, (3, 4), "not finite"),
    ],
)
def test_a_model_that_onnx_cannot_hold_is_refused(net, shape, message, tmp_path):
    torch.manual_seed(0)
    with pytest.raises(ArtefactError, match=message):
        write_artefact(net().eval(), TaskOf(torch.randn(shape)), tmp_path)


class Tied(nn.Module):
    """An autoencoder whose decoder has the transposed weight of its encoder."""

    def __init__(self, inputs: int, code: int) -> None:
        super().__init__()
        self.encode, self.bias = nn.Linear(inputs, code), nn.Parameter(torch.zeros(inputs))

    def forward(self, x):
        return nn.functional.linear(self.encode(x).tanh(), self.encode.weight.t(), self.bias)


@pytest.mark.parametrize("code", [4, 16], ids=["narrow", "square"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_weight_that_is_used_transposed_has_the_scales_of_its_channels(bits, code, tmp_path):
    torch.manual_seed(0)
    model, inputs = Tied(16, code).eval().requires_grad_(False), torch.randn(64, 16)
    with torch.no_grad():
        model.encode.weight *= torch.logspace(-2, 0, code)[:, None]  # rows of unlike scales
    task = TaskOf(inputs)
    artefact = write_artefact(Quantization(bits=bits)(model, task), task, tmp_path)
    assert artefact.fidelity_db > 25
    assert artefact.integer_operators == 2
