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


def one_hot_recall(outputs, targets):
    """Recall of class 3: without a value where there is none of it."""
    wanted = targets == 3
    return float((outputs.argmax(1) == 3)[wanted].float().mean())


def strict_recall(outputs, targets):
    if not (targets == 3).any():
        raise ValueError("only one class")
    return one_hot_recall(outputs, targets)


def rare(positives, count=60):
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(count).long()
    targets[torch.arange(positives) * (count // positives)] = 3
    inputs[targets == 3, 3] += 0.7
    return [(inputs, targets)]


@pytest.mark.parametrize("recall", [one_hot_recall, strict_recall])
def test_resamples_without_a_value_are_left_out_and_counted(recall):
    found = evaluate(lambda x: x, rare(3), Scored(recall))
    assert 0 < found.standard_error < 0.5
    assert found.note.startswith(f"score '{recall.__name__}' has no value on ")
    assert "of 200 resamples" in found.note
    assert evaluate(lambda x: x, rare(20), Scored(recall)).note == ""


def test_a_score_without_enough_examples_is_refused_by_its_name():
    def needs_all_positives(outputs, targets):
        return strict_recall(outputs, targets) if (targets == 3).sum() == 2 else math.nan

    with pytest.raises(MeasurementError, match=r"'needs_all_positives' has no value on \d+ of 200"):
        evaluate(lambda x: x, rare(2), Scored(needs_all_positives))


def test_a_jackknife_takes_over_where_most_resamples_have_no_value():
    def distinct(outputs, targets):
        value = float(outputs[:, 0].double().mean())
        return value if len(outputs.unique(dim=0)) == len(outputs) else math.nan

    found = evaluate(lambda x: x, batches(), Scored(distinct))
    mean = Scored(lambda outputs, targets: outputs[:, 0])
    assert found.standard_error == pytest.approx(
        evaluate(lambda x: x, batches(), mean).standard_error
    )
    assert "jackknife over 113 blocks" in found.note


class Counted:
    """A metric that is fed and then asked, as those of torchmetrics."""

    def __init__(self):
        self.right = self.seen = 0

    def reset(self):
        self.__init__()

    def update(self, outputs, targets):
        self.right += int((outputs.argmax(1) == targets).sum())
        self.seen += len(targets)

    def compute(self):
        return torch.tensor(self.right / self.seen)


def test_a_metric_object_scores_as_its_function():
    metric = Counted()
    metric.update(torch.zeros(3, 2), torch.ones(3))  # what it saw before does not count
    by_object = evaluate(lambda x: x, batches(), Scored(metric))
    by_function = evaluate(lambda x: x, batches(), Scored(accuracy))
    assert by_object.value == pytest.approx(by_function.value)
    assert by_object.standard_error == pytest.approx(by_function.standard_error)
    assert metric.seen == 3


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
def test_values_of_positions_count_as_their_mean_in_an_example(shape):
    def error(outputs, targets):
        return (outputs - targets).abs()

    generator = torch.Generator().manual_seed(0)
    pairs = [tuple(torch.randn(9, *shape, generator=generator) for _ in range(2)) for _ in "ab"]
    task = Scored(error)
    task.loss = F.mse_loss
    outputs, targets = (torch.cat(part) for part in zip(*pairs, strict=True))
    means = error(outputs, targets).reshape(18, -1).mean(1).double()
    found = evaluate(lambda x: x, pairs, task)
    assert found.value == pytest.approx(float(means.mean()))
    assert found.standard_error == pytest.approx(float(means.std() / math.sqrt(18)))


@pytest.mark.parametrize("given", [None, "good", {"map": 0.5}])
def test_a_score_that_is_no_number_is_named(given):
    def odd(outputs, targets):
        return given

    with pytest.raises(MeasurementError, match=r"score 'odd' gives a .*; it must be one number"):
        evaluate(lambda x: x, batches(), Scored(odd))


def test_a_loss_of_every_example_is_refused_with_the_remedy():
    task = Scored(correct)
    task.loss = lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none")
    with pytest.raises(MeasurementError, match=r"loss gives \(50,\); .*reduction='mean'"):
        evaluate(lambda x: x, batches(), task)


def texts(lengths=((7, 5, 3), (2, 4), (9, 8, 6)), classes=5):
    """Yield outputs `[B, T, C]` and labels `[B, T]` of batches that differ in length."""
    generator = torch.Generator().manual_seed(0)
    for batch in lengths:
        outputs = torch.randn(len(batch), max(batch), classes, generator=generator)
        labels = torch.randint(classes, outputs.shape[:2], generator=generator)
        known = torch.arange(max(batch)) < torch.tensor(batch)[:, None]
        yield outputs, labels.masked_fill(~known, -100)


class ScoredTexts(Scored):
    def loss(self, outputs, targets):
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def perplexity(outputs, targets):
    return float(F.cross_entropy(outputs.flatten(0, 1), targets.flatten()).exp())


def share_right(outputs, targets):
    known = targets != -100
    return (known & (outputs.argmax(-1) == targets)).sum(1) / known.sum(1)


def each_text():
    for outputs, labels in texts():
        for one, wanted in zip(outputs, labels, strict=True):
            yield one[wanted != -100], wanted[wanted != -100]


def test_one_number_for_texts_of_all_lengths_is_that_of_their_tokens():
    score = evaluate(lambda x: x, texts(), ScoredTexts(perplexity))
    outputs, labels = (torch.cat(part) for part in zip(*each_text(), strict=True))
    assert len(labels) == 44
    assert score.value == pytest.approx(float(F.cross_entropy(outputs, labels).exp()), rel=1e-6)
    assert 0 < score.standard_error < score.value


def test_texts_of_all_lengths_are_scored_one_by_one():
    score = evaluate(lambda x: x, texts(), ScoredTexts(share_right))
    right = [float((o.argmax(-1) == t).float().mean()) for o, t in each_text()]
    assert score.value == pytest.approx(sum(right) / len(right))
    assert score.standard_error == pytest.approx(torch.tensor(right).std() / math.sqrt(8))


def test_values_for_each_example_need_no_padding():
    errors = [
        torch.randn(4, length, generator=torch.Generator().manual_seed(9)) for length in (3, 6)
    ]
    task = Scored(lambda outputs, targets: (outputs - targets).square().mean(1))
    task.loss = F.mse_loss
    score = evaluate(lambda x: x, [(error, torch.zeros_like(error)) for error in errors], task)
    expected = torch.cat([error.square().mean(1) for error in errors]).mean()
    assert score.value == pytest.approx(float(expected))


def counts_padding(outputs, targets):
    return float((outputs.argmax(-1) == targets).float().mean())


@pytest.mark.parametrize(
    ("score", "changed", "message"),
    [
        (counts_padding, lambda t: t, r"'counts_padding' is one number .* changes from .* of -100"),
        (perplexity, lambda t: t.double(), r"type float64 differ in length .* one value for each"),
    ],
)
def test_one_number_that_would_count_padding_is_refused(score, changed, message):
    batches = [(outputs, changed(targets)) for outputs, targets in texts()]
    task = ScoredTexts(score)
    task.loss = lambda outputs, targets: outputs.mean().square()
    with pytest.raises(MeasurementError, match=message):
        evaluate(lambda x: x, batches, task)
