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
        sha256={"model.onnx": "ab", "model.onnx.data": "cd", "model.packed": "ef"},
        validation=METRICS | {"run_bytes": 700_000_000.0},
    )
    card = model_card(large, model)
    assert "`model.onnx.data`, which must be beside" in card
    assert "`python unpack.py model.packed model.onnx 700000000`" in card
    assert "model.onnx.data" not in model_card(evidence(), model)


def test_the_card_begins_with_what_the_hub_reads(model):
    hub = pytest.importorskip("huggingface_hub", reason="comes with transformers, for tests alone")
    data = hub.ModelCard(model_card(evidence(), model)).data
    assert (data.license, data.library_name) == ("mit", "onnx")
    assert data.tags == ["paredown", "model-compression", "prune"]
    found = {(r.dataset_split, r.metric_name): r.metric_value for r in data.eval_results}
    assert found == {("validation", "accuracy"): 0.91, ("test", "accuracy"): 0.9}
    assert {r.task_type for r in data.eval_results} == {"classification"}


def test_the_card_says_what_outputs_and_inputs_mean_and_what_time_was_measured_on(model):
    card = model_card(evidence(), model)
    assert "`accuracy`, higher is better. Outputs: logits [B, 10], classes on axis 1." in card
    assert "Preprocessing: pixels over 255." in card
    assert "On Some CPU it is 0.51 ms; the baseline's 1.02 ms." in card
    unsaid = model_card(evidence(card={}, outputs="", timed={}, maximize=False), model)
    assert "`score`, lower is better." in unsaid
    assert "Outputs" not in unsaid
    assert "not stated" in unsaid
    assert "license" not in yaml.safe_load(unsaid.split("---")[1])
    assert "Exported after a change: other data." in model_card(
        evidence(changed="other data"), model
    )


def test_the_card_warns_where_outputs_depend_on_the_batch(model):
    assert "depend a little on the others" not in model_card(evidence(), model)
    graph = onnx.load(model)
    graph.graph.node.append(helper.make_node("DynamicQuantizeLinear", ["image"], ["a", "b", "c"]))
    onnx.save(graph, model)
    assert "depend a little on the others" in model_card(evidence(), model)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("model.packed", "unpack.py model.packed"),
        ("model.safetensors", "load_compressed"),
        ("model.pt2", "torch.export.load"),
        ("model.xml", "OpenVINO"),
    ],
)
def test_the_card_explains_the_files_that_are_there_alone(model, file, words):
    assert words in model_card(evidence(sha256={file: "ab"}), model)
    assert words not in model_card(evidence(sha256={}), model)
