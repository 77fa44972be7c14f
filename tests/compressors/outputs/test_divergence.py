import math

import pytest
import torch

from compressors.outputs.divergence import divergence
from compressors.outputs.spec import OutputSpec

LAST = OutputSpec(kind="classes")
LABELS = OutputSpec(kind="labels")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_classes_are_compared_by_kl_with_temperature() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    high = 1 / (1 + math.exp(-1))
    expected = high * math.log(2 * high) + (1 - high) * math.log(2 * (1 - high))
    assert float(divergence(LAST, student, teacher, 2.0)) == pytest.approx(4 * expected, rel=1e-5)


def test_the_mean_is_over_all_but_the_classes() -> None:
    student, teacher = drawn(2, 3, 4), drawn(2, 3, 4, seed=1)
    flat = [
        divergence(LAST, s[None], t[None], 3.0)
        for s, t in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True)
    ]
    mean = float(torch.stack(flat).mean())
    assert float(divergence(LAST, student, teacher, 3.0)) == pytest.approx(mean)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_classes_on_any_axis_are_those_of_the_last_when_it_is_moved_there(axis: int) -> None:
    student, teacher = drawn(2, 3, 4, 5), drawn(2, 3, 4, 5, seed=1)
    moved = divergence(LAST, student.movedim(axis, -1), teacher.movedim(axis, -1))
    spec = OutputSpec(kind="classes", axis=axis)
    assert torch.equal(divergence(spec, student, teacher), moved)


def test_a_label_is_a_choice_of_two_classes() -> None:
    student, teacher = drawn(5, 3), drawn(5, 3, seed=1)
    pairs = [torch.stack([logits, torch.zeros(5, 3)], -1) for logits in (student, teacher)]
    expected = float(divergence(LAST, *pairs, 2.0))
    assert float(divergence(LABELS, student, teacher, 2.0)) == pytest.approx(expected, rel=1e-4)


def test_labels_of_great_logits_are_finite() -> None:
    student, teacher = torch.tensor([[-1e4, 1e4]]), torch.tensor([[1e4, 1e4]])
    assert float(divergence(LABELS, student, teacher)) == pytest.approx(5e3)


def test_values_are_compared_by_squares_in_units_of_their_variance() -> None:
    spec = OutputSpec(kind="values", scale=2.0)
    assert float(divergence(spec, torch.tensor([3.0, 9.0]), torch.tensor([3.0, 5.0]))) == 4.0
    assert float(divergence(spec, torch.tensor(1.0), torch.tensor(3.0), temperature=9.0)) == 2.0


def test_of_an_embedding_the_direction_counts() -> None:
    spec = OutputSpec(kind="embedding", axis=1)
    one = drawn(4, 8)
    assert float(divergence(spec, 3 * one, one)) == pytest.approx(0, abs=1e-6)
    assert float(divergence(spec, -one, one)) == pytest.approx(2)


@pytest.mark.parametrize("kind", ["classes", "labels", "values", "embedding"])
def test_equal_outputs_are_no_distance_apart_and_pull_nowhere(kind: str) -> None:
    outputs = drawn(4, 5).requires_grad_(True)
    distance = divergence(OutputSpec(kind=kind), outputs, outputs.detach(), 3.0)
    distance.backward()
    assert float(distance.detach()) == pytest.approx(0, abs=1e-6)
    assert torch.allclose(outputs.grad, torch.zeros_like(outputs), atol=1e-6)
