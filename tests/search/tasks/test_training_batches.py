"""Training data as they are loaded: repeatable by epoch, the first batches read once."""

import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from search.tasks.batches import batches_of_epoch
from search.tasks.repeatability import UNSEEDED, repeatability_notes
from search.tasks.training_batches import TrainingBatches
from tests.search.tasks.made_up import task


class Augmented(Dataset[tuple[Tensor, int]]):
    """Samples to which noise of some sources is added as they are read."""

    def __init__(self, *sources: str) -> None:
        self.sources = sources

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        draw = {
            "torch": lambda: float(torch.rand(())),
            "random": random.random,
            "numpy": lambda: float(np.random.rand()),  # noqa: NPY002
            "system": lambda: os.urandom(1)[0] / 256 + index,
        }
        noise = [draw[source]() for source in self.sources]
        return torch.tensor([float(index), *noise]), index % 3


def drawn(data: Any, epoch: int) -> Tensor:
    return torch.cat([inputs for inputs, _ in batches_of_epoch(data, epoch)])  # type: ignore[misc]


LOADERS: dict[str, dict[str, Any]] = {
    "no processes": {},
    "two processes": {"num_workers": 2},
    "persistent processes": {"num_workers": 2, "persistent_workers": True},
}


@pytest.mark.parametrize("generator", [False, True])
@pytest.mark.parametrize("how", LOADERS)
def test_an_epoch_has_the_same_batches_whatever_global_generator_they_draw_from(
    how: str, generator: bool
) -> None:
    own = {"generator": torch.Generator().manual_seed(5)} if generator else {}
    rows = Augmented("torch", "random", "numpy")
    data = DataLoader(rows, batch_size=4, shuffle=True, **LOADERS[how], **own)
    first, other = drawn(data, 0), drawn(data, 1)
    random.random()
    np.random.rand()  # noqa: NPY002
    torch.rand(3)
    assert torch.equal(drawn(data, 0), first)
    assert not torch.equal(first, other)
    assert all(len(first[:, column].unique()) == 24 for column in range(4))


def test_reading_leaves_every_global_generator_alone() -> None:
    data = DataLoader(Augmented("torch", "random", "numpy"), batch_size=4, shuffle=True)

    def draw(read: bool) -> list[float]:
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        torch.manual_seed(3)
        batches = batches_of_epoch(data, 0)
        if read:
            next(batches)
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002

    assert draw(read=True) == draw(read=False)


@pytest.mark.parametrize("how", LOADERS)
def test_passes_may_overlap(how: str) -> None:
    data = DataLoader(Augmented("torch"), batch_size=4, shuffle=True, **LOADERS[how])
    whole = drawn(data, 1)
    outer = batches_of_epoch(data, 1)
    begun = next(outer)[0]
    drawn(data, 2)
    assert torch.equal(torch.cat([begun, *(inputs for inputs, _ in outer)]), whole)  # type: ignore[list-item]


class Counted:
    """Batches `[4, 2]`; notes each pass and each batch that is read."""

    def __init__(self, count: int = 6) -> None:
        self.count, self.passes, self.read = count, 0, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        for index in range(self.count):
            self.read += 1
            yield torch.full((4, 2), float(index)), torch.arange(4)


def test_readers_of_the_first_batches_share_one_pass() -> None:
    data = Counted()
    batches = TrainingBatches(data)
    for count in (1, 3, 2, 5, 6, 6):
        found = [float(inputs[0, 0]) for inputs, _ in islice(batches.of_epoch(0), count)]  # type: ignore[index,arg-type,call-overload]
        assert found == list(range(count))
    assert (data.passes, data.read) == (1, 6)


def test_what_is_written_into_a_batch_reaches_no_other_reader() -> None:
    batches = TrainingBatches(Counted())
    inputs, targets = batches.first()
    inputs.fill_(7)  # type: ignore[union-attr]
    targets.fill_(7)
    again, same = batches.first()
    assert float(again.max()) == 0  # type: ignore[union-attr]
    assert same.tolist() == [0, 1, 2, 3]


def test_no_more_is_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.tasks.training_batches.MAX_KEPT_BYTES", 100)
    data = Counted()
    batches = TrainingBatches(data)
    for _ in range(2):
        assert [float(i[0, 0]) for i, _ in batches.of_epoch(0)] == list(range(6))  # type: ignore[index,arg-type,call-overload]
    assert len(list(islice(batches.of_epoch(0), 2))) == 2
    assert len(batches._kept) == 2
    assert data.passes == 2


def test_an_error_in_the_data_is_not_taken_for_their_end() -> None:
    class Broken(Counted):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            yield torch.zeros(4, 2), torch.arange(4)
            raise OSError("a file is missing")

    batches = TrainingBatches(Broken())
    for _ in range(2):
        with pytest.raises(OSError, match="a file is missing"):
            list(batches.of_epoch(0))


@pytest.mark.parametrize("source", ["random", "system"])
def test_data_that_differ_from_run_to_run_are_named(source: str, tmp_path: Path) -> None:
    def train(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        noise = random.random() if source == "random" else int.from_bytes(os.urandom(3))
        yield torch.full((8, 6), float(noise)), torch.zeros(8).long()

    found = task(tmp_path, train=train)
    assert repeatability_notes(found) == ((UNSEEDED,) if source == "system" else ())
