"""Models whose outputs are not one tensor."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU())
        self.head = nn.Linear(24, 4)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.head(features), features


class AsTuple(TwoLayers):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.both(x)


class AsMapping(TwoLayers):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits, features = self.both(x)
        return {"features": features, "logits": logits}


@dataclass
class Answer:
    logits: Tensor
    hidden: tuple[Tensor, ...] = ()
    loss: Tensor | None = None


class AsDataclass(TwoLayers):
    def forward(self, x: Tensor) -> Answer:
        logits, features = self.both(x)
        return Answer(logits=logits, hidden=(features,))


class Pair(NamedTuple):
    logits: Tensor
    offset: Tensor


class AsNamedTuple(TwoLayers):
    def __init__(self) -> None:
        super().__init__()
        self.away = nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Pair:
        logits, features = self.both(x)
        return Pair(logits, self.away(features))


def tuple_of_tensors() -> Parts:
    """A tuple of logits and features, of which the loss takes the first."""
    return parts.task(
        AsTuple(),
        parts.near_centres(16, noise=2.0),
        loss=lambda outputs, targets: F.cross_entropy(outputs[0], targets),
        score=lambda outputs, targets: parts.right(outputs[0], targets),
    )


def mapping_of_tensors() -> Parts:
    """A mapping of features and logits, in this order."""
    return parts.task(
        AsMapping(),
        parts.near_centres(16, noise=2.0),
        loss=lambda outputs, targets: F.cross_entropy(outputs["logits"], targets),
        score=lambda outputs, targets: parts.right(outputs["logits"], targets),
    )


def dataclass_of_tensors() -> Parts:
    """A dataclass with logits, a tuple of hidden states, and a loss that is None."""
    return parts.task(
        AsDataclass(),
        parts.near_centres(16, noise=2.0),
        loss=lambda outputs, targets: F.cross_entropy(outputs.logits, targets),
        score=lambda outputs, targets: parts.right(outputs.logits, targets),
    )


def two_trained_outputs() -> Parts:
    """Classes and values from two heads, both in the loss; the task names which is distilled."""
    inputs, targets = parts.near_centres(16, noise=2.0)
    wanted = {"kind": targets, "offset": inputs[:, :2]}

    def loss(outputs: Pair, targets: dict[str, Tensor]) -> Tensor:
        away = F.mse_loss(outputs.offset, targets["offset"])
        return F.cross_entropy(outputs.logits, targets["kind"]) + 0.1 * away

    return parts.task(
        AsNamedTuple(),
        (inputs, wanted),
        loss=loss,
        score=lambda outputs, targets: parts.right(outputs.logits, targets["kind"]),
        outputs={"name": "logits"},
    )


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.early, self.head = nn.Linear(12, 4), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.one(x)
        found = self.head(self.two(x).mean((2, 3)))
        return (found, self.early(x.mean((2, 3)))) if self.training else found


def second_output_in_training() -> Parts:
    """One output in eval mode, two in training, as nets with an auxiliary head have."""

    def loss(outputs: Tensor | tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        if isinstance(outputs, tuple):
            main, early = (F.cross_entropy(found, targets) for found in outputs)
            return main + 0.3 * early
        return F.cross_entropy(outputs, targets)

    return parts.task(Auxiliary(), parts.near_centres(3, 8, 8, noise=2.0), loss=loss)


class NeedsTargets(nn.Module):
    """Returns its loss when it is given targets, and in any case the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU())
        self.centres = nn.Parameter(torch.randn(4, 24))

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        logits = -torch.cdist(self.body(x), self.centres)
        return logits if targets is None else (F.cross_entropy(logits, targets), logits)


def training_step_of_its_own() -> Parts:
    """A model whose forward pass takes the targets in training; the task gives a train_step."""
    return parts.task(
        NeedsTargets(),
        parts.near_centres(16, noise=2.0),
        step=lambda model, batch: model(*batch)[0],
        train_step=lambda model, batch: model(*batch),
    )


CASES = (
    Case(task=tuple_of_tensors),
    Case(
        task=mapping_of_tensors,
        structure=lambda found: dict(zip(("features", "logits"), found, strict=True)),
    ),
    Case(task=dataclass_of_tensors, structure=lambda found: Answer(found[0], tuple(found[1:]))),
    Case(task=two_trained_outputs, structure=lambda found: Pair(*found)),
    Case(task=second_output_in_training),
    Case(task=training_step_of_its_own),
)
