import math

import pytest
import torch
from torch import nn

from compressors.distillation import Distillation
from compressors.errors import InfeasibleError
from compressors.models.copying import copy_model
from compressors.outputs.divergence import divergence
from compressors.testing.networks import NETWORKS
from compressors.training.loop import TrainingSettings, train
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from compressors.weights.codebook import Codebook
from compressors.weights.compressible import compressible_weights
from compressors.weights.encoded import coded_weights
from compressors.weights.masks import Mask
from tests.zoo import toy_task


def test_a_mask_is_taken_into_the_code() -> None:
    task = toy_task("mlp")
    masked = WeightPruning(ratio=0.7)(task.baseline, task)
    said = masked(task.inputs)
    shared = WeightSharing(clusters=256, biases=False)(masked, task)
    for before, after in zip(
        compressible_weights(masked), compressible_weights(shared), strict=True
    ):
        assert [type(p) for p in after.chain()] == [Mask, Codebook]
        assert torch.equal(before.value() == 0, after.value() == 0)
    assert torch.equal(masked(task.inputs), said)


def test_zeros_without_a_mask_stay_zero_through_training() -> None:
    task = toy_task("mlp")
    model = copy_model(task.baseline)
    compressible_weights(model)[0].value()[:, ::2] = 0.0
    shared = WeightSharing(clusters=4)(model, task)
    tuned = Distillation(epochs=1)(shared, task)
    for old, new in zip(compressible_weights(shared), compressible_weights(tuned), strict=True):
        assert not torch.equal(old.value(), new.value())
        assert torch.equal(old.value() == 0, new.value() == 0)


@pytest.mark.parametrize("net", NETWORKS)
def test_training_adds_no_value_to_a_shared_weight(net: str) -> None:
    task = NETWORKS[net].task()
    shared = WeightSharing(clusters=16)(task.baseline, task)
    model = copy_model(shared).requires_grad_(True)
    settings = TrainingSettings(epochs=1, learning_rate=5e-3, weight_decay=0.1)
    train(model, task.train_batches, task.loss, settings)
    for old, new in zip(compressible_weights(shared), compressible_weights(model), strict=True):
        assert len(new.value().unique()) <= len(old.value().unique())


def test_allocation_by_sensitivity_keeps_the_mean_and_lowers_the_divergence() -> None:
    task = toy_task("residual")
    uniform = WeightSharing(clusters=6, biases=False)(task.baseline, task)
    allocated = WeightSharing(clusters=6, biases=False, allocation="sensitivity")(
        task.baseline, task
    )

    def bits(model: nn.Module) -> float:
        return sum(
            w.value().numel() * math.log2(len(w.value().unique()))
            for w in compressible_weights(model)
        )

    def moved(model: nn.Module) -> float:
        return float(divergence(task.outputs, model(task.inputs), task.logits))

    assert bits(allocated) <= bits(uniform) * (1 + 1e-9)
    assert moved(allocated) < moved(uniform)
    counts = {len(w.value().unique()) for w in compressible_weights(allocated)}
    assert len(counts) > 1


def test_layers_have_clusters_of_their_own() -> None:
    task = toy_task("mlp")
    shared = WeightSharing(clusters=4, layers={"2.*": 16})(task.baseline, task)
    assert [len(w.value().unique()) for w in compressible_weights(shared)] == [4, 16, 4]
    with pytest.raises(InfeasibleError, match=r"pattern 'fc\*' matches none of 0.weight"):
        WeightSharing(clusters=4, layers={"fc*": 16})(task.baseline, task)


def test_biases_are_rounded_to_8_bits() -> None:
    task = toy_task("mlp")
    shared = WeightSharing(clusters=4)(task.baseline, task)
    codes = [code for code in coded_weights(shared).values() if len(code.shape) == 1]
    assert [code.shape for code in codes] == [(24,), (24,), (4,)]
    assert {code.bits for code in codes} == {8}


def test_tied_weights_stay_tied() -> None:
    model = (
        nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)).eval().requires_grad_(False)
    )
    model[2].weight = model[0].weight
    task = toy_task("mlp")
    shared = WeightSharing(clusters=4)(WeightPruning(ratio=0.5)(model, task), task)
    stored = [layer.parametrizations.weight.original for layer in (shared[0], shared[2])]
    assert stored[0] is stored[1]
    assert torch.equal(shared[0].weight, shared[2].weight)
    assert model[0].weight is model[2].weight


@pytest.mark.parametrize("clusters", [1, 257, -1])
def test_clusters_out_of_range_are_refused(clusters: int) -> None:
    with pytest.raises(ValueError, match=r"clusters must be in \[2, 256\]"):
        WeightSharing(clusters=clusters)


def test_layers_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="layers need clusters"):
        WeightSharing(layers={"0.*": 4})
