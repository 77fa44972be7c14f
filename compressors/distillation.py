"""Distillation: the compressed model learns from the baseline's outputs."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, Task, check_choice, check_range, run
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import device_of, to_device
from compressors.models.copying import copy_model
from compressors.models.fused_attention import plain_attention
from compressors.training.feature_matching import LastFeatures, similarity_loss
from compressors.training.loop import fastest_precision, train
from compressors.weights.masks import close_masks

PRECISIONS = ("float32", "bfloat16", "fastest")
STEPS_A_MASK = 16
"""Masks that are closing move every so many steps of training, and in a short one as often."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Train the whole model on the task's loss and on the baseline's soft outputs.

    Masks that are to close gradually do so, and masked weights stay zero; shared weights stay
    shared, with trained centroids; quantised weights stay on their grid, with trained scales
    (Hinton et al., 2015, arXiv:1503.02531).
    """

    kind: ClassVar[CompressorKind] = CompressorKind.RECOVERS

    epochs: float = 0
    """Passes over the training data, the last maybe in part; 0 for none."""
    first_epoch: int = 0
    """The number of the first pass: a training that goes on after another sees other batches."""
    temperature: float = 1.0
    """Divides the logits of teacher and student, in (0, 100]."""
    soft_weight: float = 0.5
    """The share of the soft loss, in [0, 1]; the task's own loss has the rest."""
    feature_weight: float = 0.0
    """Times the difference in how teacher and student see samples as alike before their last
    layer, added to the loss; at least 0. It needs the teacher's forward pass in every step."""
    learning_rate: float = 1e-3
    """The highest, in (0, 1]."""
    weight_decay: float = 0.0
    """Decoupled weight decay, in [0, 1]."""
    precision: Literal["float32", "bfloat16", "fastest"] = "float32"
    """Of the forward pass in training; fastest is what a few timed steps say, so that a result
    may differ from machine to machine."""
    reestimate_batch_norm: bool = False
    """Measure batch-norm statistics anew at the end; also without any epoch of training."""

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 0, float("inf"))
        check_range("first_epoch", self.first_epoch, 0, float("inf"))
        check_range("temperature", self.temperature, 1e-3, 100)
        check_range("soft_weight", self.soft_weight, 0, 1)
        check_range("feature_weight", self.feature_weight, 0, float("inf"))
        check_range("learning_rate", self.learning_rate, 1e-9, 1)
        check_range("weight_decay", self.weight_decay, 0, 1)
        check_choice("precision", self.precision, PRECISIONS)

    @property
    def active(self) -> bool:
        """True when the model is trained, or its batch-norm statistics are measured anew."""
        return self.epochs > 0 or self.reestimate_batch_norm

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a trained copy, in eval mode and frozen.

        Raises:
            InfeasibleError: there is nothing to train, or soft outputs are asked for and the
                outputs are not one tensor, or features and there is no layer that makes them.
            FloatingPointError: the loss is not finite.
        """
        student = copy_model(model)
        if self.epochs > 0:
            if not any(True for _ in student.parameters()):
                raise InfeasibleError("distillation: the model has no parameters to train")
            student.requires_grad_(True)
            self._train(student, task)
            student.requires_grad_(False)
        if self.reestimate_batch_norm:
            renew_batch_norm(student, task)
        return student

    def _train(self, student: nn.Module, task: Task) -> None:
        steps = itertools.count()
        steps_per_epoch = _steps_per_epoch(task)
        total = math.ceil(self.epochs * steps_per_epoch)
        interval = max(1, min(STEPS_A_MASK, total // STEPS_A_MASK))

        def move_masks(progress: float) -> None:
            if next(steps) % interval == 0:
                close_masks(student, progress)

        batches = partial(_with_features, task) if self.feature_weight else task.teacher_batches
        precision = self._precision(student, task)
        with LastFeatures(student) as features:
            train(
                student,
                lambda epoch: batches(self.first_epoch + epoch),
                lambda *known: self._loss(task, features, *known),
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                steps_per_epoch=steps_per_epoch,
                precision=precision,
                before_step=move_masks,
            )
        close_masks(student, 1.0)

    def _precision(self, student: nn.Module, task: Task) -> torch.dtype:
        if self.precision != "fastest":
            return torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        inputs, targets = next(iter(task.train_batches(0)))
        there = to_device(targets, device_of(student))
        return fastest_precision(student, inputs, lambda outputs: task.loss(outputs, there))

    def _loss(
        self,
        task: Task,
        features: LastFeatures,
        outputs: Any,
        targets: Any,
        teacher: Tensor,
        teacher_features: Tensor | None = None,
    ) -> Tensor:
        loss = self._output_loss(task, outputs, targets, teacher)
        if teacher_features is None:
            return loss
        if features.value is None:
            raise InfeasibleError(
                f"distillation: feature_weight {self.feature_weight:g} needs a linear or "
                f"convolution layer in the model"
            )
        return loss + self.feature_weight * similarity_loss(features.value, teacher_features)

    def _output_loss(self, task: Task, outputs: Any, targets: Any, teacher: Tensor) -> Tensor:
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


def _steps_per_epoch(task: Task) -> int:
    """Return the number of training batches; they are counted once, since that takes an epoch."""

    def count() -> dict[str, NDArray[Any]]:
        return {"steps": np.array(sum(1 for _ in task.train_batches(0)))}

    return int(task.measured("steps per epoch", count)["steps"])


def _with_features(task: Task, epoch: int) -> Iterator[tuple[Inputs, Any, Any, Tensor]]:
    """Yield inputs, targets, and the baseline's outputs and last features for an epoch."""
    device = device_of(task.baseline)
    for inputs, targets in task.train_batches(epoch):
        with torch.no_grad(), plain_attention(), LastFeatures(task.baseline) as features:
            outputs = run(task.baseline, to_device(inputs, device))
        if features.value is None:
            raise InfeasibleError(
                "distillation: features need a linear or convolution layer in the baseline"
            )
        yield inputs, targets, outputs, features.value


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
