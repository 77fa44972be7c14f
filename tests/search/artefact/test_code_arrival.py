from pathlib import Path

import pytest
import torch
from torch import nn

from compressors.testing.task import ToyTask
from compressors.weights.compressible import compressible_weights
from compressors.weights.uniform_quantizer import QuantizerSettings, UniformQuantizer, quantizer_for
from search.artefact.artefact import write_artefact
from search.errors import ArtefactError

X = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


class Scaled(nn.Module):
    """A layer that computes another weight from its own in every call."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))
        self.unused_weight = nn.Parameter(torch.randn(4, 6))
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight if self.gain == 1 else self.weight * self.gain
        return x @ weight.t()


def write(model: nn.Module, tmp_path: Path) -> None:
    task = ToyTask(model.eval().requires_grad_(False), X, torch.zeros(8).long())
    for weight in compressible_weights(model):
        weight.add(quantised(weight.value()))
    write_artefact(model, task, tmp_path)


def quantised(value: torch.Tensor) -> UniformQuantizer:
    return quantizer_for(value, QuantizerSettings(bits=4))


def test_a_code_that_reaches_no_weight_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"the code of weight reaches no weight of the ONNX"):
        write(Scaled(gain=0.5), tmp_path)


def test_a_weight_that_no_output_depends_on_may_be_missing(tmp_path: Path) -> None:
    write(Scaled(gain=1), tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.LSTM(6, 5), nn.Identity()),
        nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)),
        nn.TransformerEncoderLayer(6, 2, 8),
    ],
    ids=["lstm", "linear", "attention"],
)
def test_codes_arrive_transposed_and_reordered(model: nn.Module, tmp_path: Path) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.inner(x[None])
            return (out[0] if isinstance(out, tuple) else out)[0]

    write(First(), tmp_path)
