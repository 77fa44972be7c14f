"""Distillation: the compressed model learns from the baseline's outputs."""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, Task, check_choice, check_range, own_step, run
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import device_of, first_batches, to_device
from compressors.models.copying import copy_model
from compressors.models.fused_attention import plain_attention
from compressors.models.trainable import require_training_gradients
from compressors.outputs.divergence import divergence
from compressors.training.feature_matching import (
    LastFeatures,
    feature_batches,
    last_layer,
    similarity_loss,
)
from compressors.training.loop import TrainingSettings, train
from compressors.training.precision import autocast, fastest_precision, in_float32
from compressors.training.stepping_back import mean_loss, step_back
from compressors.weights.masks import close_masks

PRECISIONS = ("float32", "bfloat16", "fastest")
STEPS_PER_MASK_UPDATE = 16
"""Training steps between two movements of the closing masks, at most."""
MIN_MASK_UPDATES = 16
"""Movements of the closing masks in a training of at least this many steps."""
JUDGED_SAMPLES = 256
"""Training samples on which the end of the training is compared with its start."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Train the whole model on the task's loss and on the baseline's outputs.

    The method is that of Hinton et al. (2015, arXiv:1503.02531) for classes; values and embeddings
    are compared by their squared error and their angle (`task.outputs`). Masks with a schedule
    close in this training, and masked weights stay zero. Shared weights stay shared, with trained
    centroids; quantised weights stay on their grid, with trained scales.

    Where the loss in eval mode on the first training batches is above that before the training,
    the weights go back half of the way, then another half, then to where they came from.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.RECOVERS

    epochs: float = 0
    """Passes over the training data; the last may be partial, 0 is no training."""
    first_epoch: int = 0
    """Number of the first pass; training that continues another sees other batches."""
    temperature: float = 1.0
    """Divisor of the logits of teacher and student, in [0.001, 100]; not of values."""
    soft_weight: float = 0.5
    """Share of the distance from the baseline's outputs, in [0, 1]; the task's own loss has the
    rest."""
    feature_weight: float = 0.0
    """Weight of the similarity loss between the last features of teacher and student, at least 0.
    Any but 0 needs a forward pass of the teacher in every step."""
    learning_rate: float = 1e-3
    """The highest learning rate, in [1e-9, 1]."""
    weight_decay: float = 0.0
    """Decoupled weight decay, in [0, 1]."""
    precision: Literal["float32", "bfloat16", "fastest"] = "float32"
    """Precision of the forward pass in training; `fastest` times a few steps of both, so that
    results may differ between machines; it is float32 for a task with a `train_step`."""
    reestimate_batch_norm: bool = False
    """Whether batch-norm statistics are re-estimated at the end, also after 0 epochs, where the
    inputs of a layer are not those in the baseline."""

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
        """True when the model is trained or its batch-norm statistics are re-estimated."""
        return self.epochs > 0 or self.reestimate_batch_norm

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a trained copy, in eval mode and frozen.

        Raises:
            InfeasibleError: the model has no parameters; or `soft_weight` is not 0 and the model
                lacks the distilled output; or `feature_weight` is not 0 and no layer gives
                features.
            FloatingPointError: the loss is not finite.
        """
        student = copy_model(model)
        if self.epochs > 0:
            require_training_gradients(student)
            if not any(parameter.requires_grad for parameter in student.parameters()):
                raise InfeasibleError("distillation: the model has no parameters to train")
            self._train(student, task)
            student.requires_grad_(False)
        if self.reestimate_batch_norm:
            renew_batch_norm(student, task, task.baseline)
        return self._unharmed(student, model, task) if self.epochs > 0 else student

    def _unharmed(self, student: nn.Module, model: nn.Module, task: Task) -> nn.Module:
        """Return the trained student, or one nearer to the model that came in if that is better."""
        start = copy_model(model)
        close_masks(start, 1.0)
        batches = list(first_batches(self._batches(task, 0), JUDGED_SAMPLES))
        objective = partial(mean_loss, batches=batches, loss=partial(self._judged_loss, task))
        return step_back(student, start, objective)

    def _judged_loss(
        self, task: Task, model: nn.Module, inputs: Inputs, targets: Any, *teacher: Tensor
    ) -> Tensor:
        """Return the loss of a batch by a model in eval mode.

        A task's own step of training is for training mode; the loss of the outputs stands for it.
        """
        with plain_attention(), LastFeatures(model) as features:
            outputs = run(model, inputs)
        loss = self._output_loss(task, outputs, targets, teacher[0], training=False)
        return loss + self._feature_loss(features, *teacher[1:])

    def _batches(self, task: Task, epoch: int) -> Iterable[tuple[Any, ...]]:
        """Return the batches of an epoch with what the teacher says of them."""
        return (feature_batches if self.feature_weight else _teacher_batches)(task, epoch)

    def _train(self, student: nn.Module, task: Task) -> None:
        settings = self._settings(student, task)
        layer = last_layer(student, task.example) if self.feature_weight else None
        with LastFeatures(student, layer) as features:
            train(
                student,
                lambda epoch: self._batches(task, self.first_epoch + epoch),
                lambda *known: self._loss(task, features, *known),
                settings,
                own_step=self._own_step(task, features, settings.precision),
                before_step=_mask_closer(student, settings),
            )
        close_masks(student, 1.0)

    def _settings(self, student: nn.Module, task: Task) -> TrainingSettings:
        return TrainingSettings(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            precision=self._precision(student, task),
            steps_per_epoch=steps_per_epoch(task),
        )

    def _precision(self, student: nn.Module, task: Task) -> torch.dtype:
        if self.precision != "fastest":
            return torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        if own_step(task) is not None:
            return torch.float32
        inputs, targets = next(iter(task.train_batches(0)))
        there = to_device(targets, device_of(student))
        return fastest_precision(student, inputs, lambda outputs: task.loss(outputs, there))

    def _own_step(
        self, task: Task, features: LastFeatures, precision: torch.dtype
    ) -> Callable[..., Tensor] | None:
        """Return the loss of a batch by the task's own step of training; None without one.

        The soft loss is added where the step returns outputs beside the loss.
        """
        step = own_step(task)
        if step is None:
            return None

        def loss(
            model: nn.Module, _: Inputs, targets: Any, teacher: Tensor, *more: Tensor
        ) -> Tensor:
            with autocast(device_of(model), precision):
                found = step(model, targets.batch)
            value, outputs = (found, None) if isinstance(found, Tensor) else found
            if outputs is not None and self.soft_weight > 0:
                whole = replace(self, soft_weight=1.0)
                soft = whole._output_loss(task, in_float32(outputs), targets, teacher)
                value = (1 - self.soft_weight) * value + self.soft_weight * soft
            return cast(Tensor, value) + self._feature_loss(features, *more)

        return loss

    def _loss(
        self,
        task: Task,
        features: LastFeatures,
        outputs: Any,
        targets: Any,
        teacher: Tensor,
        *teacher_features: Tensor,
    ) -> Tensor:
        """Return the loss of a batch, with the term for features if the teacher's are given."""
        loss = self._output_loss(task, outputs, targets, teacher)
        return loss + self._feature_loss(features, *teacher_features) if teacher_features else loss

    def _feature_loss(self, features: LastFeatures, *teacher_features: Tensor) -> Tensor | float:
        """Return the weighted term for features, 0 if the teacher's are not given."""
        if not teacher_features:
            return 0.0
        if features.value is None:
            raise InfeasibleError(
                f"distillation: feature_weight {self.feature_weight:g} needs a linear or "
                f"convolution layer in the model"
            )
        return self.feature_weight * similarity_loss(features.value, *teacher_features)

    def _output_loss(
        self, task: Task, outputs: Any, targets: Any, teacher: Tensor, *, training: bool = True
    ) -> Tensor:
        if self.soft_weight == 0:
            return task.loss(outputs, targets)
        student = task.outputs.select(outputs, training=training)
        soft = divergence(task.outputs, student, teacher, self.temperature)
        if self.soft_weight == 1:
            return soft
        return (1 - self.soft_weight) * task.loss(outputs, targets) + self.soft_weight * soft


def _teacher_batches(task: Task, epoch: int) -> Iterable[tuple[Inputs, Any, Tensor]]:
    return task.teacher_batches(epoch)


def steps_per_epoch(task: Task) -> int:
    """Return the number of training batches, counted once per task: it takes a whole epoch."""

    def count() -> dict[str, NDArray[Any]]:
        return {"steps": np.array(sum(1 for _ in task.train_batches(0)))}

    return int(task.measured("steps per epoch", count)["steps"])


def _mask_closer(student: nn.Module, settings: TrainingSettings) -> Callable[[float], None]:
    """Return what moves the closing masks before a step, at every `interval`-th call."""
    calls = itertools.count()
    total = math.ceil(settings.epochs * (settings.steps_per_epoch or 0))
    interval = max(1, min(STEPS_PER_MASK_UPDATE, total // MIN_MASK_UPDATES))

    def move_masks(progress: float) -> None:
        if next(calls) % interval == 0:
            close_masks(student, progress)

    return move_masks
