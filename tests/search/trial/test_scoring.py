import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from search.errors import MeasurementError
from search.trial.scoring import evaluate


class Scored:
    maximize = True

    def __init__(self, score):
        self.score = score

    def loss(self, outputs, targets):
        return F.cross_entropy(outputs, targets)


def correct(outputs, targets):
    return (outputs.argmax(1) == targets).float()


def accuracy(outputs, targets):
    return float(correct(outputs, targets).mean())


def batches(sizes=(50, 50, 13)):
    generator = torch.Generator().manual_seed(0)
    for size in sizes:
        inputs = torch.randn(size, 4, generator=generator)
        yield inputs, (inputs + 0.7 * torch.randn(size, 4, generator=generator)).argmax(1)


def test_the_score_is_that_of_all_examples_whatever_the_batches():
    outputs, targets = (torch.cat(part) for part in zip(*batches(), strict=True))
    score = evaluate(lambda x: x, batches(), Scored(correct))
    hits = correct(outputs, targets).numpy()
    assert score.value == pytest.approx(hits.mean())
    assert score.standard_error == pytest.approx(hits.std(ddof=1) / math.sqrt(113))
    assert score.nll == pytest.approx(float(F.cross_entropy(outputs, targets)), rel=1e-6)
    assert score.maximize


def test_outputs_may_be_arrays():
    assert evaluate(lambda x: x.numpy(), batches(), Scored(correct)).value > 0.5


def test_the_bootstrap_agrees_with_the_formula_and_repeats():
    one = evaluate(lambda x: x, batches(), Scored(accuracy))
    formula = evaluate(lambda x: x, batches(), Scored(correct))
    assert one.value == pytest.approx(formula.value)
    assert one.standard_error == pytest.approx(formula.standard_error, rel=0.2)
    assert evaluate(lambda x: x, batches(), Scored(accuracy)) == one


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda t: (t, t), lambda t: t[1]),
        (lambda t: {"label": t}, lambda t: t["label"]),
        (lambda t: t.tolist(), torch.tensor),
    ],
    ids=["tuple", "mapping", "list"],
)
def test_targets_may_be_structured(wrap, unwrap):
    task = Scored(lambda outputs, targets: accuracy(outputs, unwrap(targets)))
    task.loss = lambda outputs, targets: F.cross_entropy(outputs, unwrap(targets))
    wrapped = ((inputs, wrap(targets)) for inputs, targets in batches())
    plain = evaluate(lambda x: x, batches(), Scored(accuracy))
    assert evaluate(lambda x: x, wrapped, task) == plain


@pytest.mark.parametrize(
    ("score", "predict", "sizes", "message"),
    [
        (lambda o, t: math.nan, lambda x: x, (5,), "score is nan"),
        (correct, lambda x: x * math.inf, (5,), "nll is nan"),
        (lambda o, t: correct(o, t)[:2], lambda x: x, (5,), "for 5 examples"),
        (correct, lambda x: x, (1,), "at least 2 examples"),
        (correct, lambda x: x, (), "at least 2 examples"),
    ],
)
def test_what_cannot_be_measured_is_an_error(score, predict, sizes, message):
    with pytest.raises(MeasurementError, match=message):
        evaluate(predict, batches(sizes), Scored(score))
