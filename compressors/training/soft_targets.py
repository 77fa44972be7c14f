"""The loss of a student against the softened outputs of its teacher."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 times the divergence of the student's distribution from the teacher's.

    Args:
        student: Logits `[B, ..., C]`.
        teacher: Logits `[B, ..., C]`.
        temperature: T; both are divided by it before the softmax over C.

    Returns:
        A scalar: the mean over all but the last axis of KL(teacher || student), in nats
        (Hinton et al., 2015, arXiv:1503.02531).
    """
    log_student = F.log_softmax(student / temperature, dim=-1).flatten(0, -2)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1).flatten(0, -2)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2
