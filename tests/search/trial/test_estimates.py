"""What is known of a model in memory, beside entropies by hand and beside its files."""

import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from compressors.base import Compressor, run
from compressors.channel_pruning import ChannelPruning
from compressors.models.fingerprint import structure_digest
from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from search.artefact.artefact import write_artefact
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.estimates import FLOAT_BITS, estimate_in_memory, weight_bytes
from search.trial.model_counts import count_macs, count_model
from search.trial.scoring import evaluate
from tests.zoo import toy_task

FILE = 1000
"""Bytes of a packed file that are not weights: the operators and their shapes."""


class One:
    """A task that only has a baseline and an example."""

    def __init__(self, *weights: list[list[float]]) -> None:
        self.baseline = nn.Sequential()
        for weight in weights:
            layer = nn.Linear(len(weight[0]), len(weight), bias=False)
            layer.weight.data = torch.tensor(weight)
            self.baseline.append(layer)
        self.baseline.eval().requires_grad_(False)
        self.example = torch.ones(2, len(weights[0][0]))


def plain(*weights: list[list[float]]) -> nn.Module:
    return One(*weights).baseline


def test_weights_without_zeros_take_their_bits() -> None:
    assert weight_bytes(plain([[1.0, 2.0, 3.0]])) == pytest.approx(3 * FLOAT_BITS / 8)


def test_zeros_take_the_entropy_of_where_they_are() -> None:
    three_in_four = -math.log2(3 / 4) * 3 - math.log2(1 / 4)
    found = weight_bytes(plain([[0.0, 0.0], [5.0, 0.0]]))
    assert found == pytest.approx((FLOAT_BITS + three_in_four) / 8)
    assert weight_bytes(plain([[0.0, 0.0]])) == 0


def test_layers_add_up_and_shared_weights_count_once() -> None:
    model = plain([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 4.0]])
    apart = 6 * FLOAT_BITS + 4  # two of four are zero: a bit each
    assert weight_bytes(model) == pytest.approx(apart / 8)
    model[1].weight = model[0].weight
    assert weight_bytes(model) == pytest.approx(4 * FLOAT_BITS / 8)


def test_a_codebook_takes_its_centroids_and_where_the_rarer_values_are() -> None:
    task = One([[1.0, 1.0, 5.0, 5.0], [1.0, 1.0, 1.0, 1.0]])
    model = WeightSharing(clusters=2)(task.baseline, task)
    by_row = 4 + 2 * 0.5 * math.log2(5)  # a bit each in the first row, the densities of both
    assert weight_bytes(model) == pytest.approx((by_row + 2 * FLOAT_BITS) / 8)


def test_a_quantiser_takes_a_scale_a_row_and_the_entropy_of_its_integers() -> None:
    task = One([[-1.0, 0.0, 1.0, 1.0], [3.0, 3.0, -3.0, 0.0]])
    model = Quantization(bits=2, activations="float")(task.baseline, task)
    # After division by the scales 1 and 3 half of the integers are 1, a quarter each -1 and 0.
    symbols = 8 * 1.0 + 4 * 1.0 + 0.5 * math.log2(9)
    assert weight_bytes(model) == pytest.approx((symbols + 2 * FLOAT_BITS) / 8)


def test_rare_values_cost_least_where_they_share_a_row_or_a_column() -> None:
    def coded(places: list[tuple[int, int]]) -> float:
        weight = torch.ones(8, 8)
        for row, column in places:
            weight[row, column] = 5.0
        task = One(weight.tolist())
        return weight_bytes(WeightSharing(clusters=2)(task.baseline, task))

    line = range(8)
    row, column = coded([(2, n) for n in line]), coded([(n, 2) for n in line])
    scattered = coded([(n, n) for n in line])
    assert row == column < scattered
    whole = -8 * math.log2(8 / 64) - 56 * math.log2(56 / 64) + 0.5 * math.log2(65)
    assert scattered == pytest.approx((whole + 2 * FLOAT_BITS) / 8)
    assert row == pytest.approx((8 * 0.5 * math.log2(9) + 2 * FLOAT_BITS) / 8)


MODELS: dict[str, tuple[Compressor, ...]] = {
    "as it is": (),
    "half the channels": (ChannelPruning(ratio=0.5),),
    "half of it zero": (WeightPruning(ratio=0.5),),
    "4 clusters": (WeightSharing(clusters=4),),
    "80 % zero, 8 clusters": (WeightPruning(ratio=0.8), WeightSharing(clusters=8)),
    "8 bits": (Quantization(bits=8, activations="float"),),
    "4 bits": (Quantization(bits=4, activations="float"),),
    "80 % zero, 4 bits": (WeightPruning(ratio=0.8), Quantization(bits=4, activations="float")),
}


@cache
def residual() -> ToyTask:
    return toy_task("residual")


@pytest.fixture
def trained(user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluatedTask:
    monkeypatch.syspath_prepend(user_folder)
    return load_task({"_target_": "user_model.Task", "hidden": 150})


def assert_near_the_file(
    task: EvaluatedTask | ToyTask, steps: tuple[Compressor, ...], folder: Path
) -> None:
    model = task.baseline
    for step in steps:
        model = step(model, task)
    size = write_artefact(model, task, folder).size_bytes
    assert abs(size - weight_bytes(model)) <= 0.15 * size + FILE


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_perceptron_is_about_as_large_as_estimated(
    name: str, trained: EvaluatedTask, tmp_path: Path
) -> None:
    assert_near_the_file(trained, MODELS[name], tmp_path)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "half the channels"])
def test_a_residual_net_is_about_as_large_as_estimated(name: str, tmp_path: Path) -> None:
    assert_near_the_file(residual(), MODELS[name], tmp_path)


@pytest.mark.parametrize("bits", [None, 3])
def test_the_score_in_memory_is_the_model_s_own(bits: int | None, trained: EvaluatedTask) -> None:
    model = trained.baseline
    if bits:
        model = Quantization(bits=bits)(WeightPruning(ratio=0.5)(model, trained), trained)
    estimate = estimate_in_memory(model, trained, share=1.0)
    score = evaluate(lambda inputs: run(model, inputs), trained.validation, trained)
    assert {name: getattr(estimate, name) for name in score.metrics()} == pytest.approx(
        score.metrics()
    )
    held = count_model(model)
    assert estimate.parameters == held.parameters
    assert estimate.nonzeros == held.nonzeros
    assert estimate.macs == count_macs(model, trained.example)
    assert estimate.estimated_bytes == weight_bytes(model)
    assert structure_digest(model).startswith(estimate.model)
