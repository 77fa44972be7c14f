from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from compressors.base import Inputs
from compressors.channel_pruning import ChannelPruning
from compressors.distillation import Distillation
from compressors.errors import InfeasibleError
from compressors.models.copying import copy_model
from compressors.outputs.divergence import divergence
from compressors.outputs.spec import OutputSpec
from compressors.training.feature_matching import LastFeatures, similarity_loss
from compressors.weight_pruning import WeightPruning
from compressors.weights.compressible import compressible_weights
from tests.zoo import NETS, toy_task

CLASSES = OutputSpec(kind="classes", axis=1)


def test_the_student_comes_back_to_the_teacher() -> None:
    task = toy_task("mlp")
    pruned = WeightPruning(ratio=0.5)(task.baseline, task)
    torch.manual_seed(0)
    step = Distillation(epochs=20, soft_weight=1.0, temperature=2.0, learning_rate=0.01)
    student = step(pruned, task)
    far = float(divergence(CLASSES, pruned(task.inputs), task.logits))
    near = float(divergence(CLASSES, student(task.inputs), task.logits))
    assert near < 0.1 * far


class Counting:
    """A task that notes which epochs' batches were asked for, and how many were taken."""

    def __init__(self) -> None:
        self.task = toy_task("mlp")
        self.baseline, self.loss = self.task.baseline, self.task.loss
        self.outputs = self.task.outputs
        self.train_batches, self.measured = self.task.train_batches, self.task.measured
        self.taken: dict[int, int] = {}

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Inputs, Tensor, Tensor]]:
        for batch in self.task.teacher_batches(epoch):
            self.taken[epoch] = self.taken.get(epoch, 0) + 1
            yield batch


@pytest.mark.parametrize(
    ("epochs", "first", "taken"),
    [
        (2, 0, {0: 4, 1: 4}),
        (2, 3, {3: 4, 4: 4}),
        (0.4, 0, {0: 2}),
        (1.1, 5, {5: 4, 6: 1}),
    ],
)
def test_a_training_sees_so_many_batches_of_the_epochs_from_its_first_on_before_it_is_judged(
    epochs: float, first: int, taken: dict[int, int]
) -> None:
    task = Counting()
    Distillation(epochs=epochs, first_epoch=first)(task.baseline, task)
    judged = {0: taken.get(0, 0) + 4}
    assert task.taken == taken | judged


def test_another_first_epoch_is_another_training() -> None:
    task = toy_task("mlp")
    models = [Distillation(epochs=1, first_epoch=n)(task.baseline, task) for n in (0, 1, 1)]
    said = [model(task.inputs) for model in models]
    assert not torch.equal(said[0], said[1])
    assert torch.equal(said[1], said[2])


@pytest.mark.parametrize("epochs", [0.25, 0.5, 3])
def test_masks_that_close_in_a_short_training_are_closed_at_its_end(epochs: float) -> None:
    task = toy_task("mlp")
    masked = WeightPruning(ratio=0.8, schedule="cubic", allocation="uniform")(task.baseline, task)
    model = Distillation(epochs=epochs)(masked, task)
    weights = [weight.value() for weight in compressible_weights(model)]
    kept = sum(int(weight.count_nonzero()) for weight in weights)
    assert kept == pytest.approx(0.2 * sum(weight.numel() for weight in weights), abs=len(weights))


def test_statistics_alone_leave_the_parameters() -> None:
    task = toy_task("residual")
    changed = copy_model(task.baseline)
    changed.stem[0].weight *= 1.5
    model = Distillation(reestimate_batch_norm=True)(changed, task)
    for one, other in zip(model.parameters(), changed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(model.stem[1].running_var, changed.stem[1].running_var)


def test_a_model_without_batch_norm_is_feasible() -> None:
    task = toy_task("mlp")
    model = Distillation(reestimate_batch_norm=True)(task.baseline, task)
    assert torch.equal(model(task.inputs), task.logits)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = NETS["mlp"]()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(x), x


def test_a_model_without_the_distilled_output_is_infeasible_for_the_soft_loss() -> None:
    task = toy_task("mlp")
    with pytest.raises(InfeasibleError, match=r"no tensor 'output'.*it returns 0, 1"):
        Distillation(epochs=1)(TwoHeads(), task)


def test_the_named_one_of_several_outputs_is_distilled() -> None:
    task = toy_task("mlp")
    task.outputs = OutputSpec(kind="classes", axis=1, name="0", training_name="0")
    pruned = TwoHeads()
    pruned.net = WeightPruning(ratio=0.5)(task.baseline, task)
    step = Distillation(epochs=20, soft_weight=1.0, temperature=2.0, learning_rate=0.01)
    student = step(pruned, task)
    far = float(divergence(CLASSES, pruned(task.inputs)[0], task.logits))
    assert float(divergence(CLASSES, student(task.inputs)[0], task.logits)) < 0.1 * far


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", -0.5), ("first_epoch", -1), ("temperature", 0.0), ("soft_weight", 1.5)],
)
def test_values_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be in"):
        Distillation(**{field: value})


@pytest.mark.parametrize("net", ["residual", "transformer", "recurrent", "mlp"])
def test_features_are_what_the_last_layer_is_given(net: str) -> None:
    task = toy_task(net)
    with torch.no_grad(), LastFeatures(task.baseline) as features:
        said = task.baseline(task.inputs)
    last = [m for m in task.baseline.modules() if isinstance(m, nn.Linear)][-1]
    assert features.value is not None
    assert torch.allclose(last(features.value), said)


def test_matching_features_brings_the_features_nearer() -> None:
    task = toy_task("residual")
    narrow = ChannelPruning(ratio=0.5)(task.baseline, task)

    def apart(model: nn.Module) -> float:
        with torch.no_grad(), LastFeatures(model) as ours, LastFeatures(task.baseline) as theirs:
            model(task.inputs)
            task.baseline(task.inputs)
        assert ours.value is not None
        assert theirs.value is not None
        return float(similarity_loss(ours.value, theirs.value))

    step = Distillation(epochs=5, learning_rate=5e-3)
    without = step(narrow, task)
    matched = replace(step, feature_weight=10.0)(narrow, task)
    assert apart(matched) < apart(without)


def test_training_in_bfloat16_is_close_to_float32_and_keeps_float32_weights() -> None:
    task = toy_task("mlp")
    exact = Distillation(epochs=2, learning_rate=5e-3)(task.baseline, task)
    coarse = Distillation(epochs=2, learning_rate=5e-3, precision="bfloat16")(task.baseline, task)
    assert {p.dtype for p in coarse.parameters()} == {torch.float32}
    assert not torch.equal(coarse(task.inputs), exact(task.inputs))
    near = float(divergence(CLASSES, coarse(task.inputs), exact(task.inputs)))
    far = float(divergence(CLASSES, task.logits, exact(task.inputs)))
    assert near < 0.05 * far
