"""A full recipe on every architecture ends in two files that compute what the model computes."""

import itertools
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from compressors.base import Compressor, run
from compressors.channel_pruning import ChannelPruning
from compressors.testing.data import take
from compressors.testing.task import ToyTask
from compressors.weights.encoded import coded_weights
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.runtime import predictor
from search.artefact.packed_form.unpack import unpack
from search.trial.model_counts import achieved, count_model
from tests.acting import acting
from tests.zoo import ARCHITECTURES, toy_task

FLAT = {"recurrent", "gru", "lstm"}
"""Networks without a block to remove."""

ENCODINGS = ("quantization", "weight_sharing")


def recipe(net: str, encode: str) -> list[Compressor]:
    tune = acting("distillation", epochs=1, learning_rate=1e-3)
    steps = [
        acting("channel_pruning"),
        acting("low_rank", lost_energy=0.5),
        acting("weight_pruning"),
        acting("distillation", epochs=1),
        acting(encode),
        tune,
    ]
    return steps if net in FLAT else [acting("layer_removal"), *steps]


@pytest.fixture(scope="module", params=itertools.product(ARCHITECTURES, ENCODINGS), ids="-".join)
def compressed(request: pytest.FixtureRequest) -> tuple[str, nn.Module, ToyTask]:
    net, encode = request.param
    task = toy_task(net)
    model = task.baseline
    torch.manual_seed(0)
    for step in recipe(net, encode):
        model = step(model, task)
    return net, model, task


def test_both_files_of_a_full_recipe_hold_the_model(compressed, tmp_path: Path) -> None:
    _, model, task = compressed
    artefact = write_artefact(model, task, tmp_path)
    assert unpack(artefact.ship_path.read_bytes()) == artefact.run_path.read_bytes()
    assert artefact.size_bytes < write_artefact(task.baseline, task, tmp_path / "b").size_bytes
    for inputs in (task.inputs, take(task.inputs, slice(1))):
        said, expected = predictor(artefact.run_path)(inputs), run(model, inputs)
        assert float((said - expected).norm()) < 0.1 * float(expected.norm())
    operators = {node.op_type for node in onnx.load(artefact.run_path).graph.node}
    assert not operators & {"If", "Loop"}


def test_a_cut_model_is_exported_as_it_is(compressed, tmp_path: Path) -> None:
    _, _, task = compressed
    cut = ChannelPruning(ratio=0.5)(task.baseline, task)
    artefact = write_artefact(cut, task, tmp_path)
    torch.testing.assert_close(predictor(artefact.run_path)(task.inputs), run(cut, task.inputs))
    shares = achieved(count_model(task.baseline), count_model(cut))
    assert shares["parameters_removed"] > 0.3
    assert shares["channels_removed"] > 0.15
    assert shares["layers_removed"] == 0


def test_every_weight_that_can_be_is_encoded(compressed) -> None:
    _, model, _ = compressed
    assert len(coded_weights(model)) >= 3
