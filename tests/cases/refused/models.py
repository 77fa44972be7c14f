"""Models that no file can follow, or that give nothing to compare: refused in one sentence."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.outputs.meanings import dense


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(6, 12, batch_first=True), nn.Linear(12, 4)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.layer(packed)[1][0])


def packed_sequences() -> Parts:
    """A recurrent layer on packed sequences, whose lengths are data."""
    inputs, targets = parts.near_centres(8, 6)
    lengths = torch.randint(4, 9, (parts.COUNT,))
    return parts.task(
        Packed(),
        ((inputs, lengths), targets),
        step=lambda model, batch: F.cross_entropy(model(*batch[0]), batch[1]),
        steps=10,
    )


class Settling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        while x.detach().abs().amax() < 40:
            x = x + 2 * torch.sign(x) + 0.1 * self.step(x)
        return self.head(x)


def loop_until_the_values_settle() -> Parts:
    """A loop whose length depends on the values of the batch."""
    inputs, targets = parts.near_centres(16)
    return parts.task(Settling(), (inputs * (1 + 5 * (targets[:, None] > 1)), targets), steps=10)


class AlwaysDropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(F.dropout(F.relu(self.one(x)), 0.2))


def dropout_in_every_mode() -> Parts:
    """F.dropout without the model's mode, so that no two calls agree."""
    return parts.task(AlwaysDropping(), parts.near_centres(16), steps=10)


class FixedBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = dense(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.view(parts.BATCH, 16))


def view_of_a_fixed_batch() -> Parts:
    """A reshape that has the batch size of the training written into it."""
    return parts.task(FixedBatch(), parts.near_centres(16), steps=10)


class AsNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = dense(16, 4)

    def forward(self, x: Tensor) -> Any:
        found = self.body(x)
        return found if self.training else found.argmax(1).tolist()


def answers_that_are_no_tensors() -> Parts:
    """A model that answers with a list of numbers in eval mode."""
    return parts.task(AsNumbers(), parts.near_centres(16), steps=10)


class Overflowing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = dense(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) if self.training else self.body(x * 1e30).exp()


def answers_that_are_not_finite() -> Parts:
    """A model whose outputs in eval mode are not finite."""
    return parts.task(Overflowing(), parts.near_centres(16), steps=10)


def loss_of_every_sample() -> Parts:
    """A loss that is one number for each sample, which no training step can follow."""
    built = parts.task(dense(16, 4), parts.near_centres(16), steps=10)
    return {**built, "loss": lambda outputs, y: F.cross_entropy(outputs, y, reduction="none")}


def mapping_without_targets() -> Parts:
    """Batches that are mappings, with no key for the targets among the usual ones."""
    inputs, targets = parts.near_centres(16)
    return parts.task(
        dense(16, 4),
        {"measured": inputs, "diagnosis": targets},
        step=lambda model, batch: F.cross_entropy(model(batch["measured"]), batch["diagnosis"]),
        steps=10,
    )


def data_that_can_be_read_once() -> Parts:
    """A generator as training data, which is empty after its first pass."""
    built = parts.task(dense(16, 4), parts.near_centres(16), steps=10)
    return {**built, "train": (batch for batch in built["train"])}


CASES = (
    Case(task=packed_sequences, refused=r"layer runs on a packed sequence.*mask its outputs"),
    Case(
        task=loop_until_the_values_settle,
        refused=r"models\.py:\d+ `while x.detach.*torch\.where for a branch, a fixed number",
    ),
    Case(
        task=dropout_in_every_mode,
        refused=r"differ between two calls in eval mode.*'bernoulli' in line .*training=self",
    ),
    Case(
        task=view_of_a_fixed_batch, refused=r"shape '\[32, 16\]'.*in line \d+.*x\.shape\[0\] or -1"
    ),
    Case(task=answers_that_are_no_tensors, refused=r"must return a floating-point tensor.*list"),
    Case(task=answers_that_are_not_finite, refused=r"output on the task's example is not finite"),
    Case(task=loss_of_every_sample, refused=r"one number, the mean over the batch.*\.mean\(\)"),
    Case(
        task=mapping_without_targets,
        refused=r"keys measured, diagnosis and none for the targets.*part target_key",
    ),
    Case(task=data_that_can_be_read_once, refused=r"can be read once; give a list, a DataLoader"),
)
