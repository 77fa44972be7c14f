from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.errors import ConfigError
from search.tasks.batch_form import PAIRS, HeldOutBatches, batch_form
from search.tasks.loading import load_task
from tests.search.tasks.made_up import batches, task

X, Y = torch.randn(8, 6), torch.arange(8) % 3


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, ids: Tensor, mask: Tensor | None = None, labels: Tensor | None = None):
        return self.head(ids if mask is None else ids * mask)


@pytest.mark.parametrize(
    "batch",
    [
        (X, Y),
        [X, Y],
        (X, Y, ["names", "of", "files"]),
        {"x": X, "labels": Y},
        {"x": X, "y": Y},
        {"image": X, "target": Y},
        {"x": X.numpy(), "label": Y},
        (X.double(), Y),
    ],
    ids=["pair", "list", "triple", "labels", "y", "other name", "array", "double"],
)
def test_a_batch_is_inputs_and_targets_in_every_form(batch: object) -> None:
    class Net(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    inputs, targets = batch_form(Net(6, 3)).read(batch)
    (values,) = inputs.values() if isinstance(inputs, Mapping) else (inputs,)
    assert torch.equal(values, X)
    assert torch.equal(targets, Y)


@pytest.mark.parametrize("batch", [X, (X,), [X]])
def test_inputs_alone_are_the_targets_too(batch: object) -> None:
    inputs, targets = batch_form(nn.Linear(6, 6)).read(batch)
    assert torch.equal(inputs, X)
    assert torch.equal(targets, X)


def test_a_model_gets_the_inputs_that_it_takes_and_never_the_labels() -> None:
    batch = {"ids": X, "mask": None, "labels": Y, "names": ["a", "b"]}
    inputs, targets = batch_form(Named()).read(batch)
    assert list(inputs) == ["ids"]
    assert torch.equal(targets, Y)


def test_the_targets_may_be_an_input() -> None:
    inputs, targets = batch_form(Named(), "ids").read({"ids": X, "mask": X})
    assert list(inputs) == ["ids", "mask"]
    assert torch.equal(targets, X)


def test_what_follows_a_missing_input_is_given_by_name() -> None:
    inputs, _ = batch_form(Named()).read(((X, None, Y, None), Y))
    assert list(inputs) == ["ids", "labels"]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"ids": X, "kind": Y}, r"keys ids, kind and none for the targets .* target_key"),
        ({"pixels": X, "more": X, "labels": Y}, r"takes ids, mask, labels, but .* pixels, more"),
        ({"ids": ["a"], "labels": Y}, r"ids of a batch is of type list; .* collate"),
        ((), r"a batch is empty"),
    ],
)
def test_a_batch_that_cannot_be_read_is_an_error_with_a_remedy(batch, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        batch_form(Named()).read(batch)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"{part} data yield no batch"),
        ([None], r"{part} data yield no batch"),
        (iter([(X, Y)]), r"{part} data are a list_iterator, which can be read once"),
        (7, r"{part} data must be iterable, got int"),
    ],
    ids=["empty", "none", "iterator", "number"],
)
def test_data_that_cannot_be_read_are_named(
    part: str, data: object, message: str, tmp_path: Path
) -> None:
    def read() -> None:
        found = task(tmp_path, **{part: data})
        list(found.validation)
        list(found.test)

    with pytest.raises(ConfigError, match=message.format(part=part)):
        read()


class ByEpoch:
    """Batches that can be iterated, and called for those of an epoch."""

    def __iter__(self) -> Iterator[object]:
        yield X, Y

    def __call__(self, epoch: int) -> list[object]:
        return [(X, Y + epoch)]


def test_what_can_be_iterated_and_called_is_called_for_the_epochs_of_training_alone(
    tmp_path: Path,
) -> None:
    found = task(tmp_path, train=ByEpoch(), validation=ByEpoch(), test=ByEpoch())
    assert torch.equal(batches(found, 2)[0][1], Y + 2)
    assert all(torch.equal(targets, Y) for _, targets in [*found.validation, *found.test])


def test_what_can_be_iterated_trains_if_its_call_takes_no_epoch(tmp_path: Path) -> None:
    class CalledInVain(list):
        def __call__(self) -> None:
            raise AssertionError

    data = CalledInVain([(X, Y)])
    found = task(tmp_path, train=data, validation=data)
    assert torch.equal(batches(found, 1)[0][1], Y)
    assert torch.equal(next(iter(found.validation))[1], Y)


def test_held_out_data_may_come_from_a_function_or_a_class(tmp_path: Path) -> None:
    found = task(tmp_path, validation=lambda epoch=0: [(X, Y + epoch)], test=ByEpoch)
    assert torch.equal(next(iter(found.validation))[1], Y)
    assert torch.equal(next(iter(found.test))[1], Y)


@pytest.mark.parametrize(
    ("part", "data", "message"),
    [
        ("validation", lambda epoch: [(X, Y)], r"validation data .* <lambda>\(epoch\), .* without"),
        ("test", lambda epoch: [(X, Y)], r"test data .* <lambda>\(epoch\), .* default values"),
        ("train", lambda: [(X, Y)], r"train data .* <lambda>\(\), .* number of the epoch"),
    ],
)
def test_a_function_that_takes_other_arguments_is_refused(
    part: str, data: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        task(tmp_path, **{part: data})


def test_batches_that_are_none_are_left_out(tmp_path: Path) -> None:
    found = task(tmp_path, train=[None, (X, Y), None, (X, Y)])
    assert len(batches(found, 0)) == 2


def test_doubles_reach_the_model_as_floats_and_that_is_said(tmp_path: Path) -> None:
    data = [(X.double(), Y)]
    model = nn.Linear(6, 3).double()
    found = task(tmp_path, model=model, train=data, validation=data)
    assert found.example.dtype == batches(found, 0)[0][0].dtype == torch.float32
    assert next(iter(found.validation))[0].dtype == torch.float32
    assert "inputs of type float64 are cast to float32" in found.notes


def test_an_array_and_a_mapping_with_labels_make_a_task(tmp_path: Path) -> None:
    data = [{"ids": np.ones((4, 6), dtype=np.float32), "labels": torch.zeros(4).long()}]
    found = task(tmp_path, model=Named(), train=data, validation=data, test=data)
    assert list(found.example) == ["ids"]


def test_the_users_own_step_gets_the_batch_as_the_loader_yields_it(tmp_path: Path) -> None:
    data = [{"ids": X, "labels": Y, "extra": 3}]
    found = task(
        tmp_path, model=Named(), train=data, validation=data, train_step=lambda model, batch: batch
    )
    _, targets, teacher = next(iter(found.teacher_batches(0)))
    assert targets.batch["extra"] == 3
    assert float(found.loss(teacher, targets)) == float(found.loss(teacher, Y))
    assert torch.equal(next(iter(found.validation))[1], Y)


def test_a_model_that_cannot_be_made_plain_is_a_configuration_error(tmp_path: Path) -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.randn(3)

    with pytest.raises(ConfigError, match=r"model cannot be used: .* two calls .* torch.randn\(3"):
        load_task({"_target_": "tests.search.tasks.made_up.make", "model": Noisy(6, 3)}, tmp_path)


def test_held_out_data_that_can_be_iterated_are_not_called() -> None:
    class Batches:
        def __call__(self, epoch: int) -> list[object]:
            raise AssertionError(epoch)

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter([(torch.ones(2, 3), torch.zeros(2))])

    held_out = HeldOutBatches(name="validation", batches=Batches(), form=PAIRS)
    assert [len(targets) for _, targets in held_out] == [2]
    called = HeldOutBatches(name="validation", batches=lambda: Batches(), form=PAIRS)
    assert [len(targets) for _, targets in called] == [2]
