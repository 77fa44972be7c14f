import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from compressors.budget.sensitivity import LEAST, MOST, sensitivity
from tests.zoo import NETS, toy_task


def scaled(factor: float):
    def change(model: nn.Module) -> None:
        next(model.parameters()).mul_(factor)

    return change


@pytest.mark.parametrize("net", NETS)
def test_no_change_costs_nothing_and_the_model_is_left_alone(net: str) -> None:
    task = toy_task(net)
    before = [p.clone() for p in task.baseline.parameters()]
    none, some = sensitivity(task.baseline, task, [scaled(1.0), scaled(0.2)])
    assert none == pytest.approx(0, abs=1e-6)
    assert some > 1e-5
    for old, new in zip(before, task.baseline.parameters(), strict=True):
        assert torch.equal(old, new)


def test_it_is_the_divergence_on_calibration_data() -> None:
    task = toy_task("mlp")
    changed = NETS["mlp"]()
    scaled(0.5)(changed)
    batches = [inputs for inputs, _ in task.train_batches(0)]
    logs = [F.log_softmax(changed(x), -1) for x in batches]
    olds = [F.log_softmax(task.baseline(x), -1) for x in batches]
    each = [
        F.kl_div(new, old, reduction="batchmean", log_target=True)
        for new, old in zip(logs, olds, strict=True)
    ]
    (found,) = sensitivity(task.baseline, task, [scaled(0.5)], samples=10**6)
    assert found == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)


def test_named_changes_are_probed_once_for_each_model() -> None:
    task = toy_task("mlp")
    kept: dict[str, object] = {}

    def measured(key, measure):
        if key not in kept:
            kept[key] = measure()
        return kept[key]

    task.measured = measured
    first = sensitivity(task.baseline, task, [scaled(0.5)], name="halves")
    assert sensitivity(task.baseline, task, [scaled(0.9)], name="halves") == first
    assert len(kept) == 1
    other = NETS["mlp"]()
    scaled(0.3)(other)
    sensitivity(other, task, [scaled(0.5)], name="halves")
    assert len(kept) == 2


def test_outputs_that_are_not_finite_are_an_error() -> None:
    task = toy_task("mlp")
    with pytest.raises(FloatingPointError, match="not finite"):
        sensitivity(task.baseline, task, [scaled(float("inf"))])


def test_a_change_that_rounds_away_costs_nothing_and_never_less() -> None:
    """The mean of rounded logarithms of nearly equal outputs is below 0 in one of four cases."""
    task = toy_task("mlp")
    generator = torch.Generator().manual_seed(0)

    def nudged(model: nn.Module) -> None:
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1e-6 * torch.randn(weight.shape, generator=generator))

    found = sensitivity(task.baseline, task, [nudged] * 40)
    assert min(found) == 0.0
    assert max(found) < 1e-6


@pytest.mark.parametrize("count", [1, 50, 100, 1000])
def test_many_changes_share_a_bounded_number_of_samples(count: int) -> None:
    task = toy_task("mlp")
    seen: list[int] = []

    def counted(model: nn.Module) -> None:
        model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))

    found = sensitivity(task.baseline, task, [counted, *[scaled(0.5)] * (count - 1)])
    assert len(found) == count
    assert len(set(found[1:])) <= 1
    batch = seen[0]  # the last one is whole
    assert min(128, max(LEAST, MOST // count)) <= sum(seen) < max(LEAST, MOST / count) + batch
    assert sum(seen) < 128 + batch
