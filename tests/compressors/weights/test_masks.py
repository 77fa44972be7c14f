import pytest
import torch
from torch import nn

from compressors.base import Compressor
from compressors.distillation import Distillation
from compressors.quantization import Quantization
from compressors.testing.task import ToyTask
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from compressors.weights.compressible import compressible_weights
from compressors.weights.masks import Mask, close_masks, keep_best, open_masks, shared_masks
from tests.zoo import toy_task


def zeros_of(model: nn.Module) -> list[int]:
    return [int((weight.value() == 0).sum()) for weight in compressible_weights(model)]


@pytest.mark.parametrize("zeros", [0, 1, 17, 40, 99, 100])
def test_the_lowest_scores_go_and_ties_go_by_position(zeros: int) -> None:
    scores = torch.randint(0, 12, (100,), generator=torch.Generator().manual_seed(0)).float()
    reference = torch.ones(100, dtype=torch.bool)
    reference[scores.argsort(stable=True)[:zeros]] = False
    assert torch.equal(keep_best(scores, zeros), reference)


def test_negative_scores_go_in_any_case() -> None:
    assert keep_best(torch.tensor([3.0, -1.0, 2.0, -1.0]), 1).tolist() == [True, False, True, False]


def test_each_of_several_tensors_keeps_its_best() -> None:
    masks = shared_masks([torch.tensor([5.0, 6.0, 7.0]), torch.tensor([0.1, 0.2])], 3)
    assert [mask.tolist() for mask in masks] == [[False, False, True], [False, True]]


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_zeros_follow_the_cubic_curve(allocation: str) -> None:
    task = toy_task("mlp")
    model = WeightPruning(ratio=0.8, allocation=allocation, schedule="cubic")(task.baseline, task)
    total = sum(zeros_of(model))
    seen = []
    for progress in (0.0, 0.15, 0.3, 0.45, 0.6):
        close_masks(model, progress)
        seen.append(sum(zeros_of(model)) / total)
    expected = [1 - (1 - share) ** 3 for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert seen == pytest.approx(expected, abs=0.02)
    assert sum(zeros_of(model)) == total
    assert not open_masks(model)


def test_masked_entries_get_no_gradient() -> None:
    task = toy_task("mlp")
    model = WeightPruning(ratio=0.5, schedule="cubic")(task.baseline, task)
    model.train().requires_grad_(True)
    task.loss(model(task.inputs), torch.zeros(len(task.inputs), dtype=torch.long)).backward()
    chain = model[0].parametrizations.weight
    assert not chain.original.grad[~chain[0].mask].any()
    assert chain.original.grad[chain[0].mask].any()


def test_an_entry_that_was_masked_early_comes_back_when_others_shrink() -> None:
    layer = nn.Linear(3, 1, bias=False).eval().requires_grad_(False)
    layer.weight.copy_(torch.tensor([[0.2, 1.0, 2.0]]))
    task = ToyTask(layer, torch.randn(4, 3), torch.zeros(4, dtype=torch.long))
    pruned = WeightPruning(ratio=0.5, schedule="cubic")(nn.Sequential(layer), task)
    assert pruned[0].weight.tolist() == [[0.0, 1.0, 2.0]]
    pruned[0].parametrizations.weight.original.copy_(torch.tensor([[0.2, 0.1, 2.0]]))
    close_masks(pruned, 1.0)
    assert pruned[0].weight.tolist() == [[pytest.approx(0.2), 0.0, 2.0]]


def test_a_recovery_closes_the_masks_and_chooses_anew() -> None:
    task = toy_task("mlp")
    model = WeightPruning(ratio=0.8, schedule="cubic", allocation="global")(task.baseline, task)
    before = [weight.value() == 0 for weight in compressible_weights(model)]
    tuned = Distillation(epochs=3, learning_rate=0.02)(model, task)
    after = [weight.value() == 0 for weight in compressible_weights(tuned)]
    assert sum(zeros_of(tuned)) == sum(zeros_of(model))
    assert not all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    again = Distillation(epochs=1, learning_rate=0.02)(tuned, task)
    for old, weight in zip(after, compressible_weights(again), strict=True):
        assert torch.equal(old, weight.value() == 0)


def test_earlier_zeros_stay_while_a_later_mask_closes() -> None:
    task = toy_task("mlp")
    first = WeightPruning(ratio=0.4)(task.baseline, task)
    second = WeightPruning(ratio=0.8, schedule="cubic", allocation="global")(first, task)
    tuned = Distillation(epochs=2, learning_rate=0.02)(second, task)
    for earlier, later in zip(
        compressible_weights(first), compressible_weights(tuned), strict=True
    ):
        assert (later.value()[earlier.value() == 0] == 0).all()
    assert sum(zeros_of(tuned)) == sum(zeros_of(second))


def test_a_mask_holds_zeros_whatever_the_weight_becomes() -> None:
    mask = Mask(torch.tensor([True, False]))
    assert mask(torch.tensor([2.0, torch.inf])).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("encode", [WeightSharing(clusters=4), Quantization(bits=3)])
def test_a_weight_that_is_encoded_keeps_its_zeros_where_they_are(encode: Compressor) -> None:
    task = toy_task("mlp")
    pruned = WeightPruning(ratio=0.8, schedule="cubic")(task.baseline, task)
    encoded = encode(pruned, task)
    tuned = Distillation(epochs=1, learning_rate=0.02)(encoded, task)
    for earlier, later in zip(
        compressible_weights(pruned), compressible_weights(tuned), strict=True
    ):
        assert (later.value()[earlier.value() == 0] == 0).all()
    assert open_masks(pruned)
    assert not open_masks(encoded)
