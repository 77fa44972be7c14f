"""Tasks whose models return other things than one tensor of logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressors.distillation import Distillation
from compressors.outputs.spec import OutputSpec
from search.errors import ConfigError
from tests.search.tasks.made_up import task


class TwoHeads(nn.Module):
    """The logits alone in eval mode; in training two tensors, the logits last."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.early, self.late = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        states = self.body(x)
        logits = self.late(F.dropout(states, 0.1, self.training))
        return (self.early(states), logits) if self.training else logits


class Features(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Any]:
        states = self.body(x).relu()
        return {"states": states, "logits": self.head(states), "norm": states.norm(), "cache": None}


def logits_loss(outputs: dict[str, Any], targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs["logits"], targets)


def test_the_loss_of_eval_mode_serves_in_training_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = task(tmp_path, model=TwoHeads())
    assert found.outputs == OutputSpec(kind="classes", axis=1, training_name="1")
    student = Distillation(epochs=1)(found.baseline, found)
    early = found.baseline.early.weight
    assert torch.equal(student.early.weight, early)  # nothing of its output is in the loss
    assert not torch.equal(student.late.weight, found.baseline.late.weight)


def test_a_loss_that_takes_the_structure_of_training_gets_it(tmp_path: Path) -> None:
    def loss(outputs: Any, targets: Tensor) -> Tensor:
        both = outputs if isinstance(outputs, tuple) else (outputs,)
        return sum((F.cross_entropy(one, targets) for one in both), torch.zeros(()))

    found = task(tmp_path, model=TwoHeads(), loss=loss)
    student = Distillation(epochs=1)(found.baseline, found)
    assert not torch.equal(student.early.weight, found.baseline.early.weight)


def test_a_loss_that_fails_on_both_structures_says_why(tmp_path: Path) -> None:
    found = task(tmp_path, model=TwoHeads(), loss=lambda outputs, targets: outputs["logits"])
    with pytest.raises(ConfigError, match=r"loss cannot be computed .*output \[8, 3\]"):
        _ = found.outputs


def test_the_named_tensor_is_what_the_teacher_gives(tmp_path: Path) -> None:
    found = task(tmp_path, model=Features(), loss=logits_loss)
    assert (found.outputs.name, found.outputs.kind) == ("logits", "classes")
    for epoch in (0, 1):
        for inputs, _, teacher in found.teacher_batches(epoch):
            torch.testing.assert_close(teacher, found.baseline(inputs)["logits"])
    states = task(tmp_path, model=found.baseline, loss=logits_loss, outputs={"name": "states"})
    for inputs, _, teacher in states.teacher_batches(0):
        torch.testing.assert_close(teacher, found.baseline(inputs)["states"])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"name": "boxes"}, "no floating-point tensor 'boxes'; name one of states, logits, norm"),
        ("classes on axis 2", r"\[8, 3\] has no axis 2"),
    ],
)
def test_what_does_not_fit_the_outputs_is_refused(
    said: object, message: str, tmp_path: Path
) -> None:
    found = task(tmp_path, model=Features(), loss=logits_loss, outputs=said)
    with pytest.raises(ConfigError, match=message):
        _ = found.outputs


def test_data_without_a_batch_are_refused(tmp_path: Path) -> None:
    found = task(tmp_path, train=[], example=torch.zeros(4, 6))
    with pytest.raises(ConfigError, match="yields no batch"):
        _ = found.outputs
