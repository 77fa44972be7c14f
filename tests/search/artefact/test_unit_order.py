import numpy as np
import pytest
import torch
from torch import nn

from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from search.artefact.baking import bake
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.rewriting.canonical import canonical
from search.artefact.onnx_form.rewriting.unit_order import order_units
from search.artefact.packed_form.packing import pack
from tests.search.artefact.graphs import exported
from tests.search.artefact.test_canonical import run
from tests.search.artefact.test_ship_size import Images, lenet


class Net(nn.Module):
    """Two hidden layers in a row, and one whose units are used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*s) for s in ((784, 60), (60, 50), (50, 40), (50, 9)))

    def forward(self, x):
        first, second, third, beside = self.layers
        hidden = second(torch.relu(first(x.flatten(1)))).tanh()
        return torch.cat([third(hidden), beside(hidden)], 1)


RECIPES = {
    "pruned": [WeightPruning(ratio=0.9)],
    "shared": [WeightPruning(ratio=0.9), WeightSharing(clusters=4)],
    "asymmetric": [WeightPruning(ratio=0.9), Quantization(bits=3, symmetric=False)],
}


def graphs(recipe):
    task = Images(lenet(Net))
    model = task.baseline
    for step in RECIPES[recipe]:
        model = step(model, task)
    plain, codes = bake(model)
    before, after = (exported(plain, task.example) for _ in range(2))
    return before, after, codes, order_units(after, codes), feeds(task.example)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_network_computes_the_same_but_for_rounding(recipe):
    before, after, _, _, inputs = graphs(recipe)
    found, wanted = run(after, inputs)[0], run(before, inputs)[0]
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("recipe", RECIPES)
def test_codes_are_ordered_with_their_weights_and_take_fewer_bytes(recipe):
    before, after, codes, ordered, _ = graphs(recipe)
    tensors = {t.name: np.frombuffer(t.raw_data, np.float32) for t in after.graph.initializer}
    for name, code in ordered.items():
        assert np.array_equal(code.decode().reshape(-1), tensors[name])
    sizes = [
        len(pack(canonical(graph).SerializeToString(), kept.values()))
        for graph, kept in ((before, codes), (after, ordered))
    ]
    assert sizes[1] < sizes[0]


def test_units_with_several_users_and_dense_layers_stay():
    before, after, _, _, _ = graphs("pruned")
    rows = [
        {t.name: np.frombuffer(t.raw_data, np.uint8).tobytes() for t in g.graph.initializer}
        for g in (before, after)
    ]
    changed = {name for name in rows[0] if rows[0][name] != rows[1][name]}
    assert changed == {"layers.0.weight", "layers.1.weight"}
    dense = Images(lenet(Net))
    graph = exported(dense.baseline, dense.example)
    kept = graph.SerializeToString()
    order_units(graph, {})
    assert graph.SerializeToString() == kept


@pytest.mark.parametrize("last", [nn.Sigmoid, nn.Tanh, nn.ReLU])
def test_a_network_may_end_in_an_activation(last):
    layers = (nn.Flatten(), nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 5), last())
    task = Images(nn.Sequential(*layers).eval().requires_grad_(False))
    plain, codes = bake(WeightPruning(ratio=0.9)(task.baseline, task))
    before, after = (exported(plain, task.example) for _ in range(2))
    order_units(after, codes)
    inputs = feeds(task.example)
    assert np.allclose(run(after, inputs)[0], run(before, inputs)[0], atol=1e-6)
    assert before != after
