"""A `forward` may have parameters beside the inputs, wherever they stand and whatever they hold."""

import onnxruntime
import pytest
import torch
from torch import nn

from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.runtime import predictor
from tests.search.artefact.test_artefact import TaskOf


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, first, keep=0, scale=2.0, second=None, flag=True, names=("a",), **others):
        outputs = self.linear(first) * scale + (0 if second is None else second)
        return outputs[..., -keep:] if flag else outputs


@pytest.mark.parametrize("second", [True, False])
def test_default_values_are_no_inputs_of_the_file(second, tmp_path):
    torch.manual_seed(0)
    inputs = {"first": torch.randn(4, 5)} | ({"second": torch.randn(4, 3)} if second else {})
    model = Model().eval()
    artefact = write_artefact(model, TaskOf(inputs), tmp_path)
    session = onnxruntime.InferenceSession(artefact.run_path)
    assert [value.name for value in session.get_inputs()] == list(inputs)
    assert torch.allclose(predictor(artefact.run_path)(inputs), model(**inputs), atol=1e-6)
    assert artefact.notes == ()
