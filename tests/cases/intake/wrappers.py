"""Models inside of wrappers, and names that clash or are odd."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.intake.parameters import vectors
from tests.cases.outputs.meanings import dense


def data_parallel() -> Parts:
    """A model still inside nn.DataParallel."""
    built = vectors(dense(16, 4))
    return {**built, "model": nn.DataParallel(built["model"])}


def compiled() -> Parts:
    """A model that went through torch.compile, and a part of it too."""
    built = vectors(dense(16, 4))
    built["model"][2] = torch.compile(built["model"][2], backend="eager")
    return {**built, "model": torch.compile(built["model"], backend="eager")}


def averaged() -> Parts:
    """The running average of a model's weights, as evaluation often takes it."""
    built = vectors(dense(16, 4))
    return {**built, "model": torch.optim.swa_utils.AveragedModel(built["model"])}


@parts.quiet
def scripted() -> Parts:
    """A ScriptModule, whose layers cannot be changed."""
    built = vectors(dense(16, 4))
    return {**built, "model": torch.jit.script(built["model"])}


@parts.quiet
def scripted_in_part() -> Parts:
    """A model one layer of which is a ScriptModule."""
    model = dense(16, 4)
    model[2] = torch.jit.script(model[2])
    return vectors(model)


class Clashing(nn.Module):
    """Takes inputs by names that the file's own tensors have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.output = nn.Linear(10, 24), nn.Linear(6, 24)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4))

    def forward(self, output: Tensor, weight: Tensor) -> Tensor:
        return self.head(self.weight(output) + self.output(weight))


def names_that_clash() -> Parts:
    """Inputs called output and weight, as tensors of the file are."""
    inputs, targets = parts.near_centres(16, noise=2.0)
    return parts.task(
        Clashing(),
        ({"output": inputs[:, :10], "weight": inputs[:, 10:]}, targets),
        step=lambda model, batch: F.cross_entropy(model(**batch[0]), batch[1]),
    )


class OddlyNamed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {"1st layer": nn.Linear(16, 24), "größe/2": nn.Linear(24, 24), "weight": nn.ReLU()}
        )
        self.add_module("head::0", nn.Linear(24, 4))

    def forward(self, x: Tensor) -> Tensor:
        act = self.layers["weight"]
        x = act(self.layers["größe/2"](act(self.layers["1st layer"](x))))
        return getattr(self, "head::0")(x)


def odd_names() -> Parts:
    """Layers whose names hold spaces, slashes, colons and letters beyond ASCII."""
    return vectors(OddlyNamed())


CASES = (
    Case(task=data_parallel),
    Case(task=compiled),
    Case(task=averaged),
    Case(task=scripted, refused=r"ScriptModule.*give the nn\.Module that it was scripted"),
    Case(task=scripted_in_part, refused=r"layer '2' is a torch\.jit\.ScriptModule.*give the nn"),
    Case(task=names_that_clash),
    Case(task=odd_names),
)
