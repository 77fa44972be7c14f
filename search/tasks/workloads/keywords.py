"""Keyword spotting: ten words, other words and noise in one second of sound, with a DS-CNN.

The speech is synthetic (`spoken_words`): scores say how well unknown voices of the synthesiser are
understood, and nothing about people.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressors.training.loop import TrainingSettings, train
from search.tasks.baseline import trained_once
from search.tasks.tensors import TensorBatches, correct, cross_entropy
from search.tasks.workloads.ds_cnn import DsCnn
from search.tasks.workloads.spoken_words import CLASSES, Utterances, spoken_words

SHIFT = 5
"""The most frames, of 20 ms, that an utterance is shifted by in training."""


def keywords(
    data: str | Path | None = None,
    batch_size: int = 64,
    baseline_epochs: int = 12,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the parts of the task; sounds and baseline are made on first use, once per machine.

    Args:
        data: Folder of the PyPI package espeakng-loader 0.2.4; None to fetch it.
        batch_size: Utterances of a training batch.
        baseline_epochs: Epochs of the baseline's training.
        seed: Seed of that training.

    Raises:
        ConfigError: The package cannot be had.
    """
    parts = spoken_words(data)
    mean, deviation = _statistics(parts["train"])
    batches = {
        part: TensorBatches(
            inputs=(torch.from_numpy(found.features) - mean) / deviation,
            targets=torch.from_numpy(found.labels),
            batch_size=batch_size,
            augment=shifted,
        )
        for part, found in parts.items()
    }
    return {
        "model": _trained(batches["train"], baseline_epochs, seed),
        **batches,
        "loss": cross_entropy,
        "score": correct,
    }


def shifted(features: Tensor, generator: torch.Generator) -> Tensor:
    """Return features `[B, 1, T, F]`, each shifted in time by up to `SHIFT` frames.

    The first or last frame fills the gap.
    """
    frames = features.shape[2]
    shift = torch.randint(-SHIFT, SHIFT + 1, (len(features), 1), generator=generator)
    places = (torch.arange(frames) + shift).clamp(0, frames - 1)
    return features[torch.arange(len(features))[:, None], :, places].transpose(1, 2)


def _statistics(training: Utterances) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each coefficient, `[10]`."""
    features = torch.from_numpy(training.features)
    return features.mean((0, 1, 2)), features.std((0, 1, 2))


def _trained(batches: TensorBatches, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    heard = sha256(batches.inputs.numpy().tobytes()).hexdigest()[:16]
    settings = TrainingSettings(epochs=epochs, learning_rate=3e-3, weight_decay=1e-2)
    return trained_once(
        f"keywords-{epochs}-{seed}-{batches.batch_size}-{heard}",
        DsCnn(CLASSES),
        lambda net: train(net, batches, cross_entropy, settings),
    )
