import math

import pytest
import torch

from compressors.training.feature_matching import similarity_loss


@pytest.mark.parametrize("width", [3, 12])
def test_similarity_loss_against_the_definition(width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(5, width, 2, generator=generator)
    teacher = torch.randn(5, 7, generator=generator)
    expected = 0.0
    for i in range(5):
        ours = [float((student[i] * student[j]).sum()) for j in range(5)]
        theirs = [float((teacher[i] * teacher[j]).sum()) for j in range(5)]
        expected += sum(
            (a / math.hypot(*ours) - b / math.hypot(*theirs)) ** 2
            for a, b in zip(ours, theirs, strict=True)
        )
    assert float(similarity_loss(student, teacher)) == pytest.approx(expected / 5, rel=1e-4)
