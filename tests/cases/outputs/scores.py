"""Scores over the whole set, scores without a value, of zero, below zero, and as objects."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.outputs.meanings import Lone, dense


def area_under_curve(outputs: Tensor, targets: Tensor) -> float:
    """Return the share of pairs of a positive and a negative that are in order.

    Raises:
        ValueError: There is no positive, or no negative.
    """
    positive, negative = outputs[targets == 1], outputs[targets == 0]
    if not len(positive) or not len(negative):
        raise ValueError("there are samples of one class only")
    ahead = positive[:, None] - negative
    return float(((ahead > 0).float() + 0.5 * (ahead == 0).float()).mean())


def rare_positives() -> Parts:
    """An area under the curve, which is not defined on resamples without a positive."""
    x = torch.randn(parts.COUNT, 8)
    rank = (x[:, 0] + x[:, 1]).argsort(descending=True).argsort()
    y = (rank < 12).float()
    apart = y.argsort(descending=True)  # so that each part of the data has some positives
    order = torch.cat([apart[n::12] for n in range(12)])
    return parts.task(
        Lone(),
        (x[order], y[order]),
        loss=F.binary_cross_entropy_with_logits,
        score=area_under_curve,
        steps=200,
    )


def f1(outputs: Tensor, targets: Tensor) -> float:
    """Return the harmonic mean of precision and recall of the first class."""
    found, true = outputs.argmax(1) == 0, targets == 0
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def f1_over_the_whole_set() -> Parts:
    """F1, which is one number for all samples."""
    return parts.task(dense(16, 3), parts.near_centres(16, classes=3, noise=2.5), score=f1)


def correlation(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return Pearson's correlation as a tensor without axes."""
    return torch.corrcoef(torch.stack([outputs, targets]))[0, 1]


def correlation_of_all_samples() -> Parts:
    """A correlation, which has no value where all outputs are the same."""
    x = torch.randn(parts.COUNT, 8)
    y = x[:, 0] - x[:, 1] + 0.5 * torch.randn(parts.COUNT)
    return parts.task(Lone(), (x, y), loss=F.mse_loss, score=correlation)


class MeanRecall:
    """A metric with a state, as metric libraries have: the mean over classes of the recall."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.reset()

    def reset(self) -> None:
        self.found = torch.zeros(self.classes)
        self.all = torch.zeros(self.classes)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        right = outputs.argmax(1) == targets
        self.found += torch.bincount(targets[right], minlength=self.classes)
        self.all += torch.bincount(targets, minlength=self.classes)

    def compute(self) -> Tensor:
        return (self.found / self.all.clamp(min=1)).mean()


def metric_with_a_state() -> Parts:
    """An object with update, compute and reset in the place of a function."""
    return parts.task(dense(16, 4), parts.near_centres(16, noise=2.5), score=MeanRecall(4))


def no_errors_at_the_start() -> Parts:
    """A share of errors, of which the baseline makes none: a score of 0 that can only grow."""
    x = torch.randn(parts.COUNT, 8)
    y = torch.stack([x[:, 0] + x[:, 1], x[:, 2].tanh()], 1)
    return parts.task(
        dense(8, 2),
        (x, y),
        loss=F.mse_loss,
        score=lambda outputs, targets: ((outputs - targets).abs().amax(1) > 2.5).float(),
        maximize=False,
        steps=300,
    )


def scores_below_zero() -> Parts:
    """A negative error, so that higher is better and every score is below zero."""
    x = torch.randn(parts.COUNT, 8)
    y = x @ torch.randn(8, 3)
    return parts.task(
        dense(8, 3),
        (x, y),
        loss=F.mse_loss,
        score=lambda outputs, targets: -parts.squared_error(outputs, targets),
        steps=300,
    )


def one_linear_layer() -> Parts:
    """Logistic regression: one layer, which makes the outputs."""
    return parts.task(nn.Linear(16, 4), parts.near_centres(16, noise=2.0))


CASES = (
    Case(task=rare_positives),
    Case(task=f1_over_the_whole_set),
    Case(task=correlation_of_all_samples),
    Case(task=metric_with_a_state),
    Case(task=no_errors_at_the_start),
    Case(task=scores_below_zero),
    Case(task=one_linear_layer, channels_stay="its channels are those of the model's outputs"),
)
