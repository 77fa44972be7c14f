import math

import pytest
import torch

from compressors.training.soft_targets import soft_loss


def test_soft_loss_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, 0.0]])
    p = [math.e**2 / (math.e**2 + 1), 1 / (math.e**2 + 1)]
    q = [1 / (1 + math.e), math.e / (1 + math.e)]
    divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert float(soft_loss(student, teacher, 2.0)) == pytest.approx(4 * divergence, rel=1e-5)


def test_soft_loss_is_a_mean_over_all_but_the_classes() -> None:
    student, teacher = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    flat = [
        soft_loss(s[None], t[None], 3.0)
        for s, t in zip(student.view(-1, 7), teacher.view(-1, 7), strict=True)
    ]
    assert float(soft_loss(student, teacher, 3.0)) == pytest.approx(float(torch.stack(flat).mean()))


def test_soft_loss_of_equal_logits_is_zero_and_pulls_nowhere() -> None:
    logits = torch.randn(4, 5, requires_grad=True)
    loss = soft_loss(logits, logits.detach(), 3.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6
