from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from search.tasks.task import EvaluatedTask
from tests.search.tasks.made_up import make, task


def test_the_teachers_outputs_are_the_baselines_in_eval_mode(tmp_path: Path) -> None:
    found = task(tmp_path)
    for _ in range(2):  # computed, then read back
        for inputs, _, teacher in found.teacher_batches(0):
            assert torch.equal(found.baseline(inputs), teacher)


def counted(found: EvaluatedTask) -> list[int]:
    """Return a list that grows by the size of each batch the baseline is run on from now on."""
    assert found.outputs.name == "output"  # what the outputs are is found before
    sizes: list[int] = []
    found.baseline.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    return sizes


def test_all_studies_of_a_task_share_the_teachers_outputs(tmp_path: Path) -> None:
    first = task(tmp_path)
    ran = counted(first)
    batches = [[teacher for *_, teacher in first.teacher_batches(epoch)] for epoch in (0, 1)]
    assert len(ran) == 6  # five batches of the first epoch, and one to tell the model from others
    other = make()
    other["model"].load_state_dict(first.baseline.state_dict())
    second = task(tmp_path, model=other["model"])
    ran = counted(second)
    for epoch in (0, 1):
        found = [teacher for *_, teacher in second.teacher_batches(epoch)]
        assert all(torch.equal(a, b) for a, b in zip(found, batches[epoch], strict=True))
    assert len(ran) == 1


@pytest.mark.parametrize("augmented", ["never", "always", "later"])
def test_samples_of_later_epochs_have_the_outputs_of_the_first(
    augmented: str, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 6, generator=generator)

    def train(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(40, generator=torch.Generator().manual_seed(epoch))
        for start in range(0, 40, 7):
            inputs = rows[order[start : start + 7]]
            changed = augmented == "always" or (augmented == "later" and epoch and start == 14)
            yield inputs + epoch + 1 if changed else inputs, torch.zeros(len(inputs)).long()

    found = task(tmp_path, train=train)
    for epoch in (0, 2, 1):
        ran = counted(found)
        for inputs, _, teacher in found.teacher_batches(epoch):
            torch.testing.assert_close(found.baseline(inputs), teacher)
        computed = len(ran) - 6  # those above
        assert computed >= (6 if augmented == "always" or not epoch else 0)
        if augmented == "never" and epoch:
            assert computed <= 1  # at most one to tell the model from others


def test_equal_weights_that_are_used_otherwise_have_outputs_of_their_own(tmp_path: Path) -> None:
    first = task(tmp_path)
    list(first.teacher_batches(0))

    class Louder(nn.Module):
        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.__dict__.update(inside.__dict__)
            self.inside = [inside]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 5 * self.inside[0](x)

    louder = Louder(first.baseline)
    found = task(tmp_path, model=louder)
    for inputs, _, teacher in found.teacher_batches(0):
        assert torch.equal(louder(inputs), teacher)


@pytest.mark.parametrize("part", ["model", "train"])
def test_another_model_or_other_data_have_outputs_of_their_own(part: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    list(task(tmp_path, model=make()["model"]).teacher_batches(0))
    torch.manual_seed(1 if part == "model" else 0)
    shifted = {"train": [(torch.ones(8, 6), torch.zeros(8).long())]} if part == "train" else {}
    found = task(tmp_path, model=make()["model"], **shifted)
    for inputs, _, teacher in found.teacher_batches(0):
        assert torch.equal(found.baseline(inputs), teacher)


class Shifting:
    """Batches of which one is another each time they are read."""

    def __init__(self, place: int) -> None:
        self.place, self.read = place, 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.read += 1
        read = self.read
        for index in range(3):
            shift = read if index == self.place else 0
            yield torch.full((8, 6), float(index + shift)), torch.zeros(8).long()


@pytest.mark.parametrize("place", [0, 2])
def test_batches_that_differ_from_run_to_run_have_outputs_of_their_own(
    place: int, tmp_path: Path
) -> None:
    data, model = Shifting(place), make()["model"]
    for _ in range(3):  # each as a process of its own would see it
        found = task(tmp_path, train=data, model=model)
        drawn = list(found.teacher_batches(0))
        assert len(drawn) == 3
        assert all(torch.equal(found.baseline(inputs), teacher) for inputs, _, teacher in drawn)


def test_longer_data_than_those_kept_have_outputs_to_their_end(tmp_path: Path) -> None:
    rows = [(torch.full((8, 6), float(i)), torch.zeros(8).long()) for i in range(3)]
    model = make()["model"]
    list(task(tmp_path, model=model, train=lambda epoch: rows[:2]).teacher_batches(0))
    for _ in range(2):
        found = task(tmp_path, model=model, train=lambda epoch: rows)
        drawn = list(found.teacher_batches(0))
        assert [float(inputs[0, 0]) for inputs, *_ in drawn] == [0, 1, 2]
        assert all(torch.equal(found.baseline(inputs), teacher) for inputs, _, teacher in drawn)


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_read_in_parts_has_the_outputs_of_one_read_whole(
    epoch: int, tmp_path: Path
) -> None:
    model = make()["model"]
    whole = [teacher for *_, teacher in task(tmp_path / "a", model=model).teacher_batches(epoch)]
    for count in (2, 3, 5):
        found = task(tmp_path / "b", model=model)
        ran = counted(found)
        drawn = [teacher for *_, teacher in islice(found.teacher_batches(epoch), count)]
        assert all(torch.equal(a, b) for a, b in zip(drawn, whole, strict=False))
        # One run tells the model from others; outputs that an earlier part had are not computed.
        assert len(ran) <= (6 if epoch else {2: 3, 3: 2, 5: 3}[count])


def test_one_pass_over_the_data_gives_batches_and_outputs(tmp_path: Path) -> None:
    passes: list[int] = []

    def train(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        passes.append(epoch)
        yield from ((torch.full((8, 6), float(i)), torch.zeros(8).long()) for i in range(3))

    found = task(tmp_path, train=train)
    for epoch in (0, 1, 2):
        assert len(list(found.teacher_batches(epoch))) == 3
    assert passes == [0, 1, 2]


def test_outputs_too_large_to_keep_are_computed_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.tasks.epoch_outputs.MAX_EPOCH_BYTES", 100)
    found = task(tmp_path)
    for _ in range(2):
        drawn = list(found.teacher_batches(0))
        assert len(drawn) == 5
        assert all(torch.equal(found.baseline(inputs), teacher) for inputs, _, teacher in drawn)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 600


def test_outputs_of_several_lengths_are_kept(tmp_path: Path) -> None:
    rows = [(torch.randn(2, length, 6), torch.zeros(2).long()) for length in (3, 5, 1)]
    found = task(tmp_path, train=rows, loss=lambda outputs, targets: outputs.square().mean())
    for inputs, _, teacher in found.teacher_batches(0):
        assert torch.equal(found.baseline(inputs), teacher)
