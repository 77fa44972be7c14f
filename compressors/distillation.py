"""Distillation: the compressed model learns from the baseline's outputs."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.base import InfeasibleError, Kind, Task, check_range
from compressors.batch_norm import reestimate_batch_norm
from compressors.calibration import calibration_batches, device_of
from compressors.copying import copy_model
from compressors.training import train

STATISTICS_SAMPLES = 4096
"""Training samples on which batch-norm statistics are measured anew."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Train the whole model on the task's loss and on the baseline's soft outputs.

    Masked weights stay zero, shared weights stay shared (their centroids are trained) and
    quantised weights stay on their grid (Hinton et al., 2015, arXiv:1503.02531).
    """

    kind: ClassVar[Kind] = Kind.RECOVERS

    epochs: int = 0
    """Passes over the training data; 0 for none."""
    temperature: float = 1.0
    """Divides the logits of teacher and student, in (0, 100]."""
    soft_weight: float = 0.5
    """The share of the soft loss, in [0, 1]; the task's own loss has the rest."""
    learning_rate: float = 1e-3
    """The highest, in (0, 1]."""
    weight_decay: float = 0.0
    """Decoupled weight decay, in [0, 1]."""
    reestimate_batch_norm: bool = False
    """Measure batch-norm statistics anew at the end; also without any epoch of training."""

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 0, float("inf"))
        check_range("temperature", self.temperature, 1e-3, 100)
        check_range("soft_weight", self.soft_weight, 0, 1)
        check_range("learning_rate", self.learning_rate, 1e-9, 1)
        check_range("weight_decay", self.weight_decay, 0, 1)

    @property
    def active(self) -> bool:
        """True when the model is trained, or its batch-norm statistics are measured anew."""
        return self.epochs > 0 or self.reestimate_batch_norm

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a trained copy, in eval mode and frozen.

        Raises:
            InfeasibleError: there is nothing to train, or soft outputs are asked for and the
                outputs are not one tensor.
            FloatingPointError: the loss is not finite.
        """
        student = copy_model(model)
        if self.epochs > 0:
            if not any(True for _ in student.parameters()):
                raise InfeasibleError("distillation: the model has no parameters to train")
            student.requires_grad_(True)
            train(
                student,
                task.teacher_batches,
                lambda outputs, targets, teacher: self._loss(task, outputs, targets, teacher),
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
            )
            student.requires_grad_(False)
        if self.reestimate_batch_norm:
            device = device_of(student)
            reestimate_batch_norm(student, calibration_batches(task, device, STATISTICS_SAMPLES))
        return student

    def _loss(self, task: Task, outputs: Any, targets: Any, teacher: Tensor) -> Tensor:
        if self.soft_weight == 0:
            return task.loss(outputs, targets)
        if not isinstance(outputs, Tensor):
            raise InfeasibleError(
                f"distillation: soft_weight {self.soft_weight:g} needs logits in one tensor, "
                f"the model returns {type(outputs).__name__}"
            )
        soft = soft_loss(outputs, teacher, self.temperature)
        if self.soft_weight == 1:
            return soft
        return (1 - self.soft_weight) * task.loss(outputs, targets) + self.soft_weight * soft


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 times the divergence of the student's distribution from the teacher's.

    Args:
        student: Logits `[B, ..., C]`.
        teacher: Logits of the same shape.
        temperature: T; both are divided by it before the softmax over C.

    Returns:
        A scalar: the mean over all but the last axis of KL(teacher || student), in nats.
    """
    log_student = F.log_softmax(student / temperature, dim=-1).flatten(0, -2)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1).flatten(0, -2)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2
