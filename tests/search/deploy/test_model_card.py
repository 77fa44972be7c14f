"""The model card shows the evidence and code that feeds the model."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from search.deploy.model_card import model_card
from tests.search.deploy.evidences import METRICS, evidence


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An ONNX file with a float image of any batch and a fixed mask of integers."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8])
    mask = helper.make_tensor_value_info("mask", TensorProto.INT64, [4])
    graph = helper.make_graph([], "g", [image, mask], [image])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph), path)
    return path


def test_the_card_shows_the_trial_its_metrics_and_its_recipe(model):
    card = model_card(evidence(), model)
    assert "# digits, trial 7" in card
    assert "`select=knee`, member 2 of 2 of the front. Verdict: **size gain**." in card
    assert "| score, test |  | 0.900000 ± 0.020000 |" in card
    assert "| model.packed, bytes | 800 | 400 |" in card
    assert "batch 1, 2 thread(s)" in card
    assert "the shapes image [n=1, 3, 8], mask [4]; axes with a name are free" in card
    assert "Built with version 0.1.0, python 3.11." in card
    recipe = card.partition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(recipe) == evidence().recipe


def test_a_trial_beside_the_front_has_no_position_and_notes_are_shown(model):
    card = model_card(evidence(front_position=None, notes="layer x stays in fp32"), model)
    assert "of the front" not in card
    assert "Note: layer x stays in fp32." in card


def test_the_feeds_of_the_card_have_the_shapes_and_types_of_the_inputs(model):
    card = model_card(evidence(), model)
    feeds = eval(card.partition("session.run(None, ")[2].partition(")[0]\n")[0], {"np": np})
    assert {name: (array.shape, str(array.dtype)) for name, array in feeds.items()} == {
        "image": ((1, 3, 8), "float32"),
        "mask": ((4,), "int64"),
    }


def test_the_card_of_a_large_model_names_its_data_file_and_the_limit(model):
    large = evidence(
        sha256={"model.onnx": "ab", "model.onnx.data": "cd"},
        validation=METRICS | {"run_bytes": 700_000_000.0},
    )
    card = model_card(large, model)
    assert "`model.onnx.data`, which must be beside" in card
    assert "`python unpack.py model.packed model.onnx 700000000`" in card
    assert "model.onnx.data" not in model_card(evidence(), model)
