"""Models that return more than one tensor, as files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from compressors.outputs.structure import named_tensors
from compressors.quantization import Quantization
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.runtime import predictor
from tests.zoo import toy_task


@dataclass
class Found:
    logits: Tensor
    loss: Tensor | None = None
    states: tuple[Tensor, ...] = ()


class Structured(nn.Module):
    """A perceptron whose logits `[B, C]` and states are put into a structure."""

    def __init__(self, make: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 24), nn.ReLU())
        self.head = nn.Linear(24, 4)
        self.make = make

    def forward(self, x: Tensor) -> Any:
        states = self.net(x)
        return self.make(x, self.head(states), states)


STRUCTURES = {
    "tuple": lambda x, logits, states: (logits, states),
    "mapping": lambda x, logits, states: {"logits": logits, "weights": [states, None]},
    "dataclass": lambda x, logits, states: Found(logits=logits, states=(states,)),
    "scalar": lambda x, logits, states: {"loss": states.square().mean(), "logits": logits},
    "sequence first": lambda x, logits, states: (logits, states.view(-1, 6, 4).transpose(0, 1)),
    "numbers": lambda x, logits, states: (logits, logits.argmax(1)),
    "twice": lambda x, logits, states: (logits, logits),
    "an input": lambda x, logits, states: {"input": x, "logits": logits},
}


@pytest.mark.parametrize("form", STRUCTURES)
def test_a_file_gives_back_the_structure_of_the_model(form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = toy_task("mlp")
    model = Structured(STRUCTURES[form]).eval().requires_grad_(False)
    artefact = write_artefact(model, task, tmp_path)
    assert artefact.fidelity_db > 100
    predict = predictor(artefact.run_path, model(task.example))
    for samples in (1, 7):
        expected = model(task.inputs[:samples])
        actual = predict(task.inputs[:samples])
        assert type(actual) is type(expected)
        tensors = named_tensors(actual)
        assert tensors.keys() == named_tensors(expected).keys()
        for name, tensor in named_tensors(expected).items():
            torch.testing.assert_close(tensors[name], tensor)


def test_outputs_are_named_and_the_samples_axis_is_free(tmp_path: Path) -> None:
    task = toy_task("mlp")
    model = Structured(STRUCTURES["mapping"]).eval().requires_grad_(False)
    artefact = write_artefact(model, task, tmp_path)
    graph = onnx.load(artefact.run_path).graph
    assert [output.name for output in graph.output] == ["logits", "weights.0"]
    assert all(o.type.tensor_type.shape.dim[0].dim_param for o in graph.output)
    assert set(predictor(artefact.run_path)(task.inputs)) == {"logits", "weights.0"}


def test_the_fidelity_is_that_of_the_worst_output(tmp_path: Path) -> None:
    task = toy_task("mlp")
    torch.manual_seed(0)

    def noisy(x: Tensor, logits: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        return logits.sign() * 100, logits

    model = Structured(noisy).eval().requires_grad_(False)
    model.outputs = task.outputs
    coarse = Quantization(bits=8)(model, _Named(task, model))
    both = write_artefact(coarse, task, tmp_path / "both").fidelity_db
    coarse.make = lambda x, logits, states: logits
    assert both <= write_artefact(coarse, task, tmp_path / "one").fidelity_db + 1e-6


class _Named:
    """The task of another model that returns a tuple."""

    def __init__(self, task: Any, model: nn.Module) -> None:
        self.example, self.train_batches, self.baseline = task.example, task.train_batches, model
        self.measured, self.loss, self.outputs = task.measured, task.loss, task.outputs
