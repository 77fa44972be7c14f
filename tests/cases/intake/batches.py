"""Batches as data sets give them."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.outputs.meanings import dense
from tests.cases.sequences.attention import next_token_loss


class OfTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(16, 16), dense(16, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask[..., None].float()
        return self.body((self.table(input_ids) * mask).sum(1) / mask.sum(1))


def mapping_with_labels() -> Parts:
    """Batches that are one mapping with the labels inside, as tokenised data sets have."""
    tokens, targets = parts.marked_texts()
    mask = (torch.arange(10) < torch.randint(5, 11, (parts.COUNT, 1))).long()
    return parts.task(
        OfTokens(),
        {"input_ids": tokens, "attention_mask": mask, "labels": targets},
        step=lambda model, b: F.cross_entropy(
            model(b["input_ids"], b["attention_mask"]), b["labels"]
        ),
    )


def mapping_with_another_key() -> Parts:
    """A mapping whose targets have a name of their own, which the task states."""
    inputs, targets = parts.near_centres(16, noise=2.0)
    return parts.task(
        dense(16, 4),
        {"measured": inputs, "diagnosis": targets},
        step=lambda model, b: F.cross_entropy(model(b["measured"]), b["diagnosis"]),
        target_key="diagnosis",
    )


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(10, 16), nn.Linear(6, 16)
        self.body = dense(32, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.body(torch.cat((self.one(left), self.two(right)), 1).relu())


def two_positional_inputs() -> Parts:
    """Inputs that are a tuple of tensors of unlike widths."""
    inputs, targets = parts.near_centres(16, noise=2.0)
    return parts.task(
        OfTwo(),
        ((inputs[:, :10], inputs[:, 10:]), targets),
        step=lambda model, batch: F.cross_entropy(model(*batch[0]), batch[1]),
    )


def autoencoder() -> Parts:
    """Batches that are one tensor, which is the target too."""
    inputs = torch.randn(parts.COUNT, 3) @ torch.randn(3, 20)
    model = nn.Sequential(nn.Linear(20, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh())
    model.append(nn.Linear(12, 20))
    return parts.task(
        model,
        inputs + 0.1 * torch.randn(parts.COUNT, 20),
        loss=F.mse_loss,
        score=parts.squared_error,
        step=lambda model, x: F.mse_loss(model(x), x),
        maximize=False,
        steps=400,
    )


class NextToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.place = nn.Embedding(24, 16), nn.Embedding(9, 16)
        self.before = nn.Conv1d(16, 24, 2)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(24, 24))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens) + self.place.weight[: tokens.shape[1]]
        return self.body(self.before(F.pad(x.mT, (1, 0))).mT)


def shifted_loss(outputs: Tensor, tokens: Tensor) -> Tensor:
    return next_token_loss(outputs[:, :-1], tokens[:, 1:])


def language_model() -> Parts:
    """Batches that are tokens alone: the loss shifts the inputs to make the targets."""
    return parts.task(
        NextToken(),
        parts.counting_texts(),
        loss=shifted_loss,
        score=lambda found, tokens: (found[:, 1:-1].argmax(2) == tokens[:, 2:]).float().mean(1),
        step=lambda model, tokens: shifted_loss(model(tokens), tokens),
    )


def last_batch_of_one() -> Parts:
    """Batch normalisation over vectors, and a last training batch with one sample."""
    model = nn.Sequential(nn.Linear(16, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 4))
    built = parts.task(model, parts.near_centres(16, noise=2.0))
    inputs, targets = built["train"][-1]
    return {**built, "train": [*built["train"][:-1], (inputs[:1], targets[:1])]}


class Fresh:
    """Data that are opened anew by a call, with the number of the epoch."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __call__(self, epoch: int = 0) -> Iterator[Any]:
        shift = epoch % len(self.batches)
        yield from self.batches[shift:] + self.batches[:shift]


def data_from_a_function() -> Parts:
    """Training data that a function of the epoch yields, and no loader at all."""
    built = parts.task(dense(16, 4), parts.near_centres(16, noise=2.0))
    return {**built, "train": Fresh(built["train"])}


def loader_with_shuffling() -> Parts:
    """A DataLoader that shuffles and drops the last batch."""
    built = parts.task(dense(16, 4), parts.near_centres(16, noise=2.0))
    rows = [row for inputs, targets in built["train"] for row in zip(inputs, targets, strict=True)]
    loader = torch.utils.data.DataLoader(rows, batch_size=48, shuffle=True, drop_last=True)
    return {**built, "train": loader}


def labels_beside(batch: Any) -> tuple[Any, Any]:
    return {name: batch[name] for name in ("input_ids", "attention_mask")}, batch["labels"]


CASES = (
    Case(task=mapping_with_labels, read=labels_beside),
    Case(task=mapping_with_another_key, read=lambda batch: tuple(batch.values())),
    Case(task=two_positional_inputs),
    Case(task=autoencoder, read=lambda batch: (batch, batch)),
    Case(task=language_model, read=lambda batch: (batch, batch)),
    Case(task=last_batch_of_one),
    Case(task=data_from_a_function),
    Case(task=loader_with_shuffling),
)
