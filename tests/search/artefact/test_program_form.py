"""A program of torch.export computes what the compressed model does, at any size of free axes."""

import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compressors.base import output_tensors, run
from compressors.testing.data import take
from search.artefact.program_form import write_program
from search.errors import ArtefactError
from search.tasks.free_axes import batch_axes
from tests.acting import acting
from tests.zoo import ARCHITECTURES, toy_task

QUICK = ("mlp", "text")
NETS = [
    net if net in QUICK else pytest.param(net, marks=pytest.mark.slow)  # torch.export takes seconds
    for net in ARCHITECTURES
]


@pytest.mark.parametrize("net", NETS)
def test_a_program_computes_what_the_model_does(net: str, tmp_path: Path) -> None:
    task, path = toy_task(net), tmp_path / "model.pt2"
    model = acting("channel_pruning")(task.baseline, task)
    model = acting("quantization")(acting("weight_pruning")(model, task), task)
    write_program(model, task, path, batch_axes(task.example))
    program = torch.export.load(path).module()
    for inputs in (task.inputs, take(task.inputs, slice(1)), take(task.inputs, slice(3))):
        pairs = zip(*(output_tensors(run(m, inputs)) for m in (program, model)), strict=True)
        for found, wanted in pairs:
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_a_program_holds_no_sample_and_no_pickle(tmp_path: Path) -> None:
    task, path = toy_task("mlp"), tmp_path / "model.pt2"
    write_program(task.baseline, task, path, batch_axes(task.example))
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert not any(archive.read(name) for name in names if "sample_inputs" in name)
        configs = [archive.read(name).decode() for name in names if name.endswith("config.json")]
    assert not any('"use_pickle": true' in config for config in configs)


def test_a_model_that_branches_on_its_inputs_has_no_program(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    task = toy_task("mlp")
    with pytest.raises(ArtefactError, match=r"torch\.export does not take the model"):
        write_program(Branching(), task, tmp_path / "m", batch_axes(task.example))
    assert not list(tmp_path.iterdir())
