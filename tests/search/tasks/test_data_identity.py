"""Another test set or another amount of training data is noticed; another order of it is not."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from search.tasks.data_identity import TEST, TRAINING, changed_data, data_identity, set_digest
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.tasks.training_batches import TrainingBatches

INPUTS = torch.arange(60.0).reshape(20, 3)
TARGETS = torch.arange(20)


def loader(inputs: torch.Tensor, targets: torch.Tensor, **options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(inputs, targets), **options)


def test_order_and_division_of_the_test_set_do_not_matter() -> None:
    once = set_digest(loader(INPUTS, TARGETS, batch_size=8))
    torch.manual_seed(5)
    assert set_digest(loader(INPUTS, TARGETS, batch_size=7, shuffle=True)) == once
    assert once.startswith("20 samples, ")


def changed_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    inputs = INPUTS.clone()
    inputs[7, 1] += 1e-4
    return inputs, TARGETS


@pytest.mark.parametrize(
    "other",
    [
        changed_inputs(),
        (INPUTS, TARGETS.flip(0)),
        (INPUTS[:19], TARGETS[:19]),
        (torch.cat([INPUTS, INPUTS[:1]]), torch.cat([TARGETS, TARGETS[:1]])),
        (INPUTS.double(), TARGETS),
    ],
    ids=["an input", "the targets", "fewer", "one twice", "another type"],
)
def test_other_values_are_another_test_set(other: tuple[torch.Tensor, torch.Tensor]) -> None:
    once = set_digest(loader(INPUTS, TARGETS, batch_size=8))
    assert set_digest(loader(*other, batch_size=8)) != once


def test_targets_of_any_structure_count() -> None:
    boxes = [
        {"boxes": torch.ones(2, 4), "labels": [1, 2]},
        {"boxes": torch.ones(1, 4), "text": "a"},
    ]
    moved = [boxes[0], {"boxes": torch.ones(1, 4), "text": "b"}]
    assert set_digest([(INPUTS[:2], boxes)]) == set_digest([(INPUTS[:2], boxes)])
    assert set_digest([(INPUTS[:2], boxes)]) != set_digest([(INPUTS[:2], moved)])


@pytest.mark.parametrize(
    "data",
    [
        loader(INPUTS, TARGETS, batch_size=8),
        [(INPUTS[:15], TARGETS[:15]), (INPUTS[15:], TARGETS[15:])],
        lambda epoch: [(INPUTS[:12], TARGETS[:12]), (INPUTS[12:], TARGETS[12:])],
    ],
    ids=["a loader", "a list", "a function"],
)
def test_training_samples_are_counted_whatever_their_batches(data: Any) -> None:
    assert TrainingBatches(data).samples == 20


@pytest.fixture
def task() -> EvaluatedTask:
    return load_task({"_target_": "search.tasks.digits.digits"})


class Broken:
    """Data whose files are gone."""

    def __iter__(self) -> Any:
        raise OSError("no such file")


class Fresh:
    """Data that are others in each reading."""

    def __iter__(self) -> Any:
        return iter([(INPUTS + torch.rand(20, 3), TARGETS)])


def test_what_differs_is_named(task: EvaluatedTask) -> None:
    kept = data_identity(task)
    assert kept[TRAINING] == 1077
    assert changed_data(task, kept) == ""
    fewer = replace(task, train=TrainingBatches(list(task.train_batches(0))[:-1]))
    assert "training samples and had 1077" in changed_data(fewer, kept)
    other = replace(task, test=list(task.validation))
    assert "test set is now 360 samples, " in changed_data(other, kept)


def test_what_has_no_identity_is_not_compared(task: EvaluatedTask) -> None:
    kept = data_identity(task)
    assert changed_data(task, {}) == ""  # of an earlier version
    broken = replace(task, test=Broken())
    assert data_identity(broken)[TEST] is None
    assert changed_data(broken, kept) == ""
    assert changed_data(task, data_identity(broken)) == ""
    assert changed_data(replace(task, test=Fresh()), kept) == ""
