"""Files of integers that are far from their model, and what runs as floats instead."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.float_fallback import least_fidelity_db


class Outlier(nn.Module):
    """Layers in a row; after some of them one channel is huge and goes no further.

    With one range for all channels, 8 bits leave nothing of the other ones there.
    """

    def __init__(self, length: int, huge: tuple[int, ...]) -> None:
        super().__init__()
        layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(length)]
        self.layers = nn.Sequential(*layers)
        with torch.no_grad():
            for place in huge:
                self.layers[place].weight[0] *= 3000
                self.layers[place + 1].weight[:, 0] = 0

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.layers(x)
        return maps


def quantised(length, huge):
    torch.manual_seed(0)
    model = Outlier(length, huge).eval().requires_grad_(False)
    task = ToyTask(model, torch.randn(16, 8, 6, 6), torch.zeros(16).long())
    return Quantization(bits=8)(model, task), task


def decibels_of_file(path, model, inputs):
    """The fidelity of a file by ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(path.read_bytes())
    actual = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0]
    expected = model(inputs).numpy()
    return 10 * np.log10(np.square(expected).sum() / np.square(expected - actual).sum())


@pytest.fixture
def quantisations(monkeypatch):
    """Counts the graphs that are quantised."""
    from search.artefact.onnx_form import float_fallback

    calls, real = [], float_fallback.quantise_onnx

    def counted(*args, **settings):
        calls.append(settings["excluded"])
        return real(*args, **settings)

    monkeypatch.setattr(float_fallback, "quantise_onnx", counted)
    return calls


def test_a_good_file_is_quantised_once_and_has_no_note(tmp_path, quantisations):
    model, task = quantised(4, ())
    artefact = write_artefact(model, task, tmp_path)
    assert (artefact.integer_operators, artefact.notes, len(quantisations)) == (4, (), 1)


@pytest.mark.parametrize("huge", [(1,), (0, 3)])
def test_the_layers_at_a_tensor_that_bears_no_integers_run_as_floats(huge, tmp_path, quantisations):
    model, task = quantised(6, huge)
    artefact = write_artefact(model, task, tmp_path)
    (note,) = artefact.notes
    around = {place + step for place in huge for step in (0, 1)}
    assert {f"layers.{place}" in note for place in around} == {True}
    assert note.startswith(f"{len(around)} layers run as floats")
    left = 6 - len(around)
    assert artefact.integer_operators == left
    found = decibels_of_file(artefact.run_path, model, task.example)
    assert found == pytest.approx(artefact.fidelity_db, abs=0.1)
    assert found > least_fidelity_db(left)
    assert len(quantisations) <= 1 + 6 + 3


def test_a_file_without_layers_that_bear_integers_is_the_one_in_floats(tmp_path):
    model, task = quantised(2, (0,))
    artefact = write_artefact(model, task, tmp_path)
    assert decibels_of_file(artefact.run_path, model, task.inputs) > least_fidelity_db(2)
    operators = {node.op_type for node in onnx.load(artefact.run_path).graph.node}
    assert operators == {"Conv"}
    (note,) = artefact.notes
    assert "2 layers run as floats" in note
    assert "all are floats now" in note


class Packed(nn.Module):
    """Boxes in pixels and scores below one in one tensor `[B, 6, H, W]`, or `[B, H * W, 6]`."""

    def __init__(self, *, last: bool, scale: float) -> None:
        super().__init__()
        self.last = last
        self.trunk, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 6, 1)
        self.decode = nn.Conv2d(6, 6, 1, groups=6)
        with torch.no_grad():
            self.head.weight[:4] *= scale
            self.head.bias[:4] *= scale

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.decode(self.head(torch.relu(self.trunk(x))))
        return maps.flatten(2).mT if self.last else maps


@pytest.mark.parametrize("last", [False, True], ids=["axis 1", "last axis"])
def test_channels_of_a_small_scale_are_held_to_the_bound_too(last, tmp_path):
    torch.manual_seed(0)
    model = Packed(last=last, scale=640).eval().requires_grad_(False)
    task = ToyTask(model, torch.randn(16, 8, 6, 6), torch.zeros(16).long())
    model = Quantization(bits=8)(model, task)
    artefact = write_artefact(model, task, tmp_path)
    session = onnxruntime.InferenceSession(artefact.run_path.read_bytes())
    actual = session.run(None, {session.get_inputs()[0].name: task.example.numpy()})[0]
    expected = model(task.example).numpy()
    boxes, scores = (
        10 * np.log10(np.square(e).sum() / np.square(e - a).sum())
        for e, a in zip(
            np.split(expected, [4], 2 if last else 1),
            np.split(actual, [4], 2 if last else 1),
            strict=True,
        )
    )
    bound = least_fidelity_db(artefact.integer_operators)
    assert boxes > bound
    assert scores > bound
    assert artefact.fidelity_db == pytest.approx(min(boxes, scores), abs=0.1)
    assert artefact.integer_operators >= 1
    assert "run as floats" in artefact.notes[0]


def test_channels_of_one_scale_are_compared_as_a_whole(tmp_path):
    torch.manual_seed(0)
    model = Packed(last=False, scale=2).eval().requires_grad_(False)
    task = ToyTask(model, torch.randn(16, 8, 6, 6), torch.zeros(16).long())
    model = Quantization(bits=8)(model, task)
    artefact = write_artefact(model, task, tmp_path)
    assert (artefact.integer_operators, artefact.notes) == (3, ())
    found = decibels_of_file(artefact.run_path, model, task.example)
    assert found == pytest.approx(artefact.fidelity_db, abs=0.1)


def test_the_bound_falls_with_the_noise_of_more_layers():
    bounds = [least_fidelity_db(layers) for layers in (1, 10, 100)]
    assert bounds == pytest.approx([28.16, 18.16, 8.16])
