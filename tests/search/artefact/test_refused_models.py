"""A model that no file can follow is refused in one sentence: the construct and the remedy."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.exporting.refusals import reason
from search.errors import ArtefactError
from tests.search.artefact.test_artefact import TaskOf


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)


class Packing(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(4, 3, batch_first=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.recurrent(packed)[1][0]


class Looping(Net):
    def forward(self, x):
        while x.abs().max() < 100:
            x = x * 2
        return self.linear(x)


class Random(Net):
    def forward(self, x):
        return functional.dropout(self.linear(x), 0.3)


class SlightlyRandom(Net):
    def forward(self, x):
        y = self.linear(x)
        return y + 1e-4 * torch.randn_like(y)


class Unknown(Net):
    def forward(self, x):
        return torch.linalg.matrix_exp(self.linear(x))


CLIMBING = torch.tensor([[1.0] * 4, [40.0] * 4])
LENGTHS = torch.tensor([5, 2, 3])


@pytest.mark.parametrize(
    ("net", "example", "message"),
    [
        (
            Packing,
            (torch.rand(3, 5, 4), LENGTHS),
            "recurrent runs on a packed sequence",
        ),
        (
            Looping,
            CLIMBING,
            r"models.py:\d+ `while x.abs\(\).max\(\) < 100:` dep",
        ),
        (Random, torch.rand(3, 4), "differ from call to call: .*training=self.training"),
        (SlightlyRandom, torch.rand(3, 4), "differ from call to call"),
        (
            Unknown,
            torch.rand(3, 4, 4),
            "no form of torch's operator aten::linalg_matrix_exp",
        ),
    ],
)
def test_the_construct_is_named_in_one_line(net, example, message, tmp_path):
    torch.manual_seed(0)
    with pytest.raises(ArtefactError, match=message) as refused:
        write_artefact(net().eval(), TaskOf(example), tmp_path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


class Length(Net):
    def forward(self, x):
        return self.linear(x).reshape(len(x), -1)


def test_the_length_of_a_tensor_may_be_asked_for(tmp_path):
    assert write_artefact(Length().eval(), TaskOf(torch.rand(3, 4)), tmp_path).fidelity_db > 100


def test_of_nested_errors_the_innermost_speaks():
    outer = RuntimeError("\x1b[96mAn essay\x1b[0m\n- of steps")
    outer.__cause__ = ValueError("the cause\nand advice")
    assert reason(outer) == "ValueError: the cause"
