"""Both of torch's exporters stand behind one function, and a right file is what counts."""

import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from compressors.base import run
from compressors.models.copying import copy_model
from compressors.quantization import Quantization
from compressors.weight_sharing import WeightSharing
from compressors.weights.codebook import share
from compressors.weights.compressible import compressible_weights
from search.artefact.artefact import write_artefact
from search.artefact.baking import bake
from search.artefact.code_arrival import check_codes_arrive
from search.artefact.onnx_form.exporting import exporters
from search.artefact.onnx_form.exporting.call import Call
from search.artefact.onnx_form.exporting.exporters import EXPORTERS, export_onnx
from search.artefact.onnx_form.exporting.torch_exporter import export_torch
from search.artefact.onnx_form.runtime import predictor
from search.errors import ArtefactError
from search.tasks.free_axes import batch_axes
from tests.search.artefact.test_artefact import TaskOf
from tests.zoo import NETS, toy_task

# Slow: torch.export takes seconds for each model.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("net", NETS)
def test_the_second_exporter_gives_the_same_artefact_as_the_first(net, tmp_path, monkeypatch):
    task = toy_task(net)
    model = Quantization(bits=4, activations="float")(task.baseline, task)
    first = write_artefact(model, task, tmp_path / "first")
    monkeypatch.setattr(
        "search.artefact.float_form.EXPORTERS", {"torch.export": exporters.export_torch}
    )
    second = write_artefact(model, task, tmp_path / "second")
    assert second.fidelity_db > 100
    assert second.integer_operators == first.integer_operators
    assert second.size_bytes < 2 * first.size_bytes


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("exporter", EXPORTERS.values())
def test_every_encoded_weight_reaches_the_graph(net, exporter):
    task = toy_task(net)
    plain, codes = bake(WeightSharing(clusters=8)(task.baseline, task))
    call = Call.of(plain, task.example, batch_axes(task.example), ["output"])
    exported = export_onnx(plain, call, codes, exporter)
    check_codes_arrive(exported.graph, codes, plain, task.example)


class Recomputed(nn.Module):
    """Makes the weight that it uses from the one that is encoded, as old weight norm does."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.unused = nn.Linear(6, 6)

    def forward(self, x):
        return functional.linear(x, self.linear.weight / self.linear.weight.norm(dim=1).mean())


def test_an_encoded_weight_that_the_file_lacks_is_refused_only_if_it_is_used(tmp_path):
    torch.manual_seed(0)
    task = TaskOf(torch.randn(4, 6))
    model = copy_model(Recomputed())
    for weight in compressible_weights(model):
        share(weight, clusters=4)
    with pytest.raises(
        ArtefactError, match=r"the code of linear\.weight reaches no weight of the ONNX file"
    ):
        write_artefact(model, task, tmp_path)


class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)
        )

    def forward(self, x):
        return self.body(x)


def test_what_the_first_exporter_refuses_the_second_may_take(tmp_path):
    torch.manual_seed(0)
    model, example = Pool().eval(), torch.randn(4, 1, 8, 8)
    artefact = write_artefact(model, TaskOf(example), tmp_path)
    assert artefact.fidelity_db > 100
    (note,) = artefact.notes
    assert note.startswith("exported with torch.export, since the TorchScript exporter: adaptive")
    assert "no factor of its input's size" in note
    other = torch.randn(7, 1, 8, 8)
    assert torch.allclose(predictor(artefact.run_path)(other), model(other), atol=1e-5)


class Clashing(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 4))

    def forward(self, weight, output, unused):
        return functional.linear(weight * output, self.weight)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_inputs_may_have_the_names_of_parameters_and_of_the_output(exporter, tmp_path, monkeypatch):
    monkeypatch.setattr("search.artefact.float_form.EXPORTERS", {exporter: EXPORTERS[exporter]})
    torch.manual_seed(0)
    names = ("output", "weight", "unused")
    example = {name: torch.randn(4, 4) for name in names}
    model = Clashing().eval()
    artefact = write_artefact(model, TaskOf(example), tmp_path)
    other = {name: torch.randn(3, 4) for name in names}
    assert torch.allclose(predictor(artefact.run_path)(other), run(model, other), atol=1e-6)


def test_a_weight_of_an_inputs_name_keeps_its_code():
    model = Clashing().eval()
    example = {name: torch.randn(4, 4) for name in ("weight", "output", "unused")}
    call = Call.of(model, example, batch_axes(example), ["output"])
    exported = export_onnx(model, call, {}, export_torch)
    values = [numpy_helper.to_array(t) for t in exported.graph.graph.initializer]
    assert any((torch.from_numpy(v.copy()) == model.weight).all() for v in values if v.ndim == 2)
    assert [value.name for value in exported.graph.graph.input] == ["weight", "output", "unused"]
    assert [value.name for value in exported.graph.graph.output] == ["output_1"]
