"""What digests of a model tell apart and what they do not."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from compressors.base import Compressor
from compressors.models.copying import copy_model
from compressors.models.fingerprint import fingerprint, structure_digest
from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from compressors.weight_pruning import WeightPruning
from tests.zoo import toy_task


@pytest.fixture(scope="module")
def task() -> ToyTask:
    return toy_task("residual")


PAIRS: dict[str, tuple[Compressor, Compressor]] = {
    "activations": (
        Quantization(bits=8, activations="float"),
        Quantization(bits=8, activations="minmax"),
    ),
    "schedule": (
        WeightPruning(ratio=0.5, schedule="one_shot"),
        WeightPruning(ratio=0.5, schedule="cubic"),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_structure_digest_tells_apart_models_of_equal_weights(name: str, task: ToyTask) -> None:
    one, other = (compressor(task.baseline, task) for compressor in PAIRS[name])
    assert fingerprint(one) == fingerprint(other)
    assert structure_digest(one) != structure_digest(other)


@pytest.mark.parametrize("compressor", [c for pair in PAIRS.values() for c in pair], ids=str)
def test_the_structure_digest_is_equal_for_a_copy_and_for_the_same_work_again(
    compressor: Compressor, task: ToyTask
) -> None:
    model = compressor(task.baseline, task)
    assert structure_digest(copy_model(model)) == structure_digest(model)
    assert structure_digest(compressor(task.baseline, task)) == structure_digest(model)


def changed_weight(model: nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-3


def changed_buffer(model: nn.Module) -> None:
    next(model.buffers()).view(-1)[0] += 1e-3


@pytest.mark.parametrize("change", [changed_weight, changed_buffer])
def test_both_see_a_changed_tensor(change: Callable[[nn.Module], None], task: ToyTask) -> None:
    other = copy_model(task.baseline)
    change(other)
    assert fingerprint(other) != fingerprint(task.baseline)
    assert structure_digest(other) != structure_digest(task.baseline)
