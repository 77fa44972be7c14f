"""Attention whose mask hides all keys of a query gives zeros, in the file as in torch."""

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from compressors.quantization import Quantization
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.runtime import predictor
from tests.search.artefact.test_artefact import TaskOf


class Attentive(nn.Module):
    """Two layers of attention with one mask, which is a condition or what is added."""

    def __init__(self, added=False):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 24) for _ in range(2))
        self.added = added

    def forward(self, states, seen):
        mask = (~seen * torch.tensor(-1e9)) if self.added else seen
        for layer in self.layers:
            parts = layer(states).unflatten(-1, (6, 4)).transpose(1, 2).chunk(3, dim=1)
            mixed = functional.scaled_dot_product_attention(*parts, attn_mask=mask)
            states = states + mixed.transpose(1, 2).flatten(2)
        return states


def inputs(length):
    generator = torch.Generator().manual_seed(length)
    seen = torch.rand(3, 1, length, length, generator=generator) < 0.6
    seen[0, 0, 1] = False  # a query without any key
    seen[1] = False
    return {"states": torch.randn(3, length, 8, generator=generator), "seen": seen}


AXES = {"states": {0: "batch", 1: "length"}, "seen": {0: "batch", 2: "length", 3: "length"}}


@pytest.mark.parametrize("added", [False, True])
def test_the_file_computes_what_the_model_does(added, tmp_path):
    torch.manual_seed(0)
    model = Attentive(added).eval()
    artefact = write_artefact(model, TaskOf(inputs(7)), tmp_path, AXES)
    operators = [node.op_type for node in onnx.load(artefact.run_path).graph.node]
    assert "IsNaN" not in operators
    assert operators.count("ReduceSum") == (0 if added else 1)
    predict = predictor(artefact.run_path)
    for length in (2, 7, 19):
        expected = model(**inputs(length))
        assert torch.isfinite(expected).all()
        assert torch.allclose(predict(inputs(length)), expected, atol=1e-5)


def test_integers_are_found_as_before(tmp_path):
    torch.manual_seed(0)
    task = TaskOf(inputs(7))
    model = Quantization(bits=8)(Attentive().eval(), task)
    artefact = write_artefact(model, task, tmp_path, AXES)
    assert artefact.integer_operators == 2
    assert artefact.fidelity_db > 30
