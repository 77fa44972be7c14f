import pytest
import torch

from compressors.errors import InfeasibleError
from compressors.outputs.spec import OutputSpec, StatedOutputs, stated_outputs


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (None, StatedOutputs()),
        ("labels", StatedOutputs(kind="labels")),
        ("classes on axis -1", StatedOutputs(kind="classes", axis=-1)),
        ({"name": "logits", "axis": 2}, StatedOutputs(name="logits", axis=2)),
    ],
)
def test_a_task_may_state_any_part(said: object, read: StatedOutputs) -> None:
    assert stated_outputs(said) == read


@pytest.mark.parametrize("said", ["logits", "values on", 3, {"kind": "class"}, {"sort": "values"}])
def test_what_is_no_kind_is_refused_with_the_choice(said: object) -> None:
    with pytest.raises(ValueError, match="outputs must be one of classes, labels, values"):
        stated_outputs(said)


def test_the_distilled_tensor_may_have_another_name_in_training() -> None:
    spec = OutputSpec(kind="values", name="output", training_name="1")
    one, two = torch.ones(2), torch.zeros(2)
    assert spec.select(one) is one
    assert spec.select((one, two), training=True) is two
    with pytest.raises(InfeasibleError, match=r"no tensor 'output'.*it returns 0, 1"):
        spec.select((one, two))


def test_a_spec_is_described_with_its_shape() -> None:
    spec = OutputSpec(kind="classes", axis=-1, name="logits")
    assert spec.describe(torch.zeros(4, 9, 10)) == "logits [B, 9, 10], classes on axis 2"
    assert OutputSpec(kind="values").describe(torch.zeros(4)) == "output [B], values"
