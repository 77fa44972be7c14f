"""What the tasks of users are made of: drawn data, a short training, splits and scores."""

import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

SAMPLES = {"train": 320, "validation": 320, "test": 64}
COUNT = sum(SAMPLES.values())
BATCH = 32
Step = Callable[[nn.Module, Any], Tensor]


def near_centres(*shape: int, classes: int = 4, noise: float = 1.5) -> tuple[Tensor, Tensor]:
    """Return samples `[N, *shape]`, each near the centre of its class, and the classes `[N]`."""
    centres = torch.randn(classes, *shape)
    targets = torch.randint(0, classes, (COUNT,))
    return centres[targets] + noise * torch.randn(COUNT, *shape), targets


def marked_texts(
    length: int = 10, vocabulary: int = 16, classes: int = 4, share: float = 0.3
) -> tuple[Tensor, Tensor]:
    """Return tokens `[N, length]`, a share of them the number of the class, and the classes."""
    targets = torch.randint(0, classes, (COUNT,))
    tokens = torch.randint(classes, vocabulary, (COUNT, length))
    return torch.where(torch.rand(COUNT, length) < share, targets[:, None], tokens), targets


def counting_texts(length: int = 9, vocabulary: int = 24) -> Tensor:
    """Return tokens `[N, length]` that grow by a step of their own, modulo the vocabulary."""
    start, step = torch.randint(0, vocabulary, (COUNT, 1)), torch.randint(1, 4, (COUNT, 1))
    return (start + step * torch.arange(length)) % vocabulary


def batches(data: Any, size: int = BATCH) -> list[Any]:
    """Return batches of data of any structure of tensors `[N, ...]`, each of that structure."""
    count = len(tree_leaves(data)[0])
    return [
        tree_map(lambda part, at=at: part[at : at + size], data) for at in range(0, count, size)
    ]


def split(data: Any, size: int = BATCH) -> dict[str, list[Any]]:
    """Return the batches of the training, validation and test data."""

    def parts() -> Iterator[tuple[str, list[Any]]]:
        start = 0
        for name, count in SAMPLES.items():
            rows = slice(start, start + count)
            yield name, batches(tree_map(lambda part, rows=rows: part[rows], data), size)
            start += count

    return dict(parts())


def trained(model: nn.Module, data: list[Any], step: Step, steps: int) -> nn.Module:
    """Train a model for some steps with Adam, as a user would."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    model.train()
    for number in range(steps):
        optimizer.zero_grad()
        step(model, data[number % len(data)]).backward()
        optimizer.step()
    return model.eval()


def right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return for each sample, or each of its positions, whether its class was found."""
    return (outputs.argmax(1) == targets).float()


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error of each sample."""
    return (outputs - targets).square().flatten(1).mean(1)


def task(
    model: nn.Module,
    data: Any,
    *,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
    score: Any = right,
    steps: int = 150,
    step: Step | None = None,
    collate: Callable[[Any], Any] = lambda batch: batch,
    **more: Any,
) -> dict[str, Any]:
    """Return the parts of a task whose model is trained on the first part of the data.

    Args:
        model: The model, not yet trained.
        data: Samples of any structure; inputs and targets unless `step` is given.
        loss: From outputs and targets to the mean loss.
        score: From outputs and targets to a value for each sample, or one for all.
        steps: Training steps.
        step: From the model and a batch to the loss, where a batch is no pair.
        collate: From a batch of the data to what a loader yields.
        more: Further parts of the task.
    """
    parts = {name: list(map(collate, found)) for name, found in split(data).items()}
    trained(model, parts["train"], step or (lambda m, batch: loss(m(batch[0]), batch[1])), steps)
    return {"model": model, **parts, "loss": loss, "score": score, **more}


def quiet(build: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Return a function that builds a task with parts of torch which warn of their age."""

    @wraps(build)
    def without_warnings() -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build()

    return without_warnings
