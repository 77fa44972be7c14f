"""Models whose weights or numbers are not plain float32 parameters."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.outputs.meanings import dense


def vectors(model: nn.Module, **more: object) -> Parts:
    return parts.task(model, parts.near_centres(16, noise=2.0), **more)


def half_precision() -> Parts:
    """A model kept in bfloat16, with inputs in float32 cast by its own code."""
    built = vectors(dense(16, 4))
    return {**built, "model": built["model"].bfloat16(), "train": halves(built["train"])}


def halves(data: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    return [(inputs.bfloat16(), targets) for inputs, targets in data]


def double_precision() -> Parts:
    """A model and inputs in float64, with convolutions."""
    inputs, targets = parts.near_centres(1, 8, 8, noise=2.0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(108, 4),
    )
    return parts.task(model.double(), (inputs.double(), targets))


class Chosen(nn.Module):
    """Takes its features in an order that it keeps as a parameter of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.order = nn.Parameter(torch.randperm(16), requires_grad=False)
        self.used = nn.Parameter(torch.rand(16) > 0.2, requires_grad=False)
        self.body = dense(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x[:, self.order] * self.used)


def parameters_of_integers_and_booleans() -> Parts:
    """An index of integers and a mask of booleans as parameters without a gradient."""
    return vectors(Chosen())


class FrozenParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        waves = torch.sin(torch.arange(8)[:, None] / 50 ** (torch.arange(12) / 12))
        self.places = nn.Parameter(waves, requires_grad=False)
        self.enter = nn.Linear(6, 12).requires_grad_(False)
        self.body = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(torch.tanh(self.enter(x) + self.places).mean(1))


def frozen_parameters() -> Parts:
    """Fixed waves as a parameter and a frozen first layer, which no training may change."""
    return parts.task(FrozenParts(), parts.near_centres(8, 6, noise=1.0), steps=300)


def convolutions() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv1d(12, 12, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(192, 4),
    )


def series(model: nn.Module) -> Parts:
    return parts.task(model, parts.near_centres(1, 16))


@parts.quiet
def weight_norm_by_hooks() -> Parts:
    """The older weight_norm, which keeps a computed weight beside its two parameters."""
    model = convolutions()
    for layer in (model[0], model[2]):
        nn.utils.weight_norm(layer)
    return series(model)


def weight_norm_as_parametrisation() -> Parts:
    """Weight norm as torch's parametrisation, with two originals for one weight."""
    model = convolutions()
    for layer in (model[0], model[2]):
        parametrizations.weight_norm(layer)
    return series(model)


@parts.quiet
def spectral_norm_both_ways() -> Parts:
    """Spectral norm as a hook on one layer and as a parametrisation on another."""
    model = convolutions()
    nn.utils.spectral_norm(model[0])
    parametrizations.spectral_norm(model[2])
    return series(model)


def masks_left_over() -> Parts:
    """A model pruned with torch.nn.utils.prune whose masks were never made permanent."""
    model = dense(16, 4)
    for layer in (model[0], model[2]):
        prune.l1_unstructured(layer, "weight", amount=0.3)
    prune.random_structured(model[2], "weight", amount=0.2, dim=0)
    return vectors(model)


class Idle(nn.Module):
    """Adds a branch that was never trained and starts at zero; a third of its units are dead."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(16, 24), nn.Linear(24, 24)
        self.head, self.unused = nn.Linear(24, 4), nn.Linear(5, 5)
        self.two.requires_grad_(False)
        nn.init.zeros_(self.two.weight)
        nn.init.zeros_(self.two.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.one(x))
        return self.head(x + self.two(x))


def layer_of_zeros() -> Parts:
    """A layer of zeros, dead units, and a layer that no forward pass reaches."""
    built = vectors(Idle())
    with torch.no_grad():
        built["model"].one.weight[:8] = 0
        built["model"].one.bias[:8] = -1
    return built


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner = nn.Linear(20, 16), nn.Linear(16, 6)
        self.shift, self.inner_shift = nn.Parameter(torch.zeros(20)), nn.Parameter(torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        code = self.inner(self.enter(x).tanh())
        back = F.linear(code, self.inner.weight.t(), self.inner_shift).tanh()
        return F.linear(back, self.enter.weight.t(), self.shift)


def tied_and_transposed() -> Parts:
    """A decoder that multiplies by the transposed weights of its encoder."""
    x = torch.randn(parts.COUNT, 4) @ torch.randn(4, 20) + 0.1 * torch.randn(parts.COUNT, 20)
    return parts.task(
        TiedAutoencoder(),
        (x, x),
        loss=F.mse_loss,
        score=parts.squared_error,
        maximize=False,
        steps=400,
    )


CASES = (
    Case(task=half_precision),
    Case(task=double_precision),
    Case(task=parameters_of_integers_and_booleans),
    Case(task=frozen_parameters),
    Case(task=weight_norm_by_hooks),
    Case(task=weight_norm_as_parametrisation),
    Case(task=spectral_norm_both_ways),
    Case(task=masks_left_over),
    Case(task=layer_of_zeros),
    Case(task=tied_and_transposed),
)
