"""A small task whose loader shuffles, with any of its parts changed."""

from pathlib import Path

import torch
from torch import Tensor, nn

from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask


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
    return load_task({"_target_": "tests.search.tasks.made_up.make", **changes}, tmp_path)


def batches(found: EvaluatedTask, epoch: int) -> list[tuple[Tensor, Tensor]]:
    return [(inputs, targets) for inputs, targets in found.train_batches(epoch)]  # type: ignore[misc]
