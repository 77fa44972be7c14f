from pathlib import Path

import pytest
import torch
from torch import nn

from search.errors import ConfigError
from search.tasks.loading import load_task
from tests.search.tasks.made_up import parts


class Plain:
    """A class with the parts as attributes and methods."""

    def __init__(self) -> None:
        for name, part in parts().items():
            setattr(self, name, part)


def test_a_plain_class_is_a_task(tmp_path: Path) -> None:
    found = load_task({"_target_": "tests.search.tasks.test_loading.Plain"}, tmp_path)
    assert found.maximize
    assert not found.baseline.training
    assert not any(weight.requires_grad for weight in found.baseline.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, r"tests.search.tasks.made_up.make gives no model"),
        ({"test": None, "score": None}, r"gives no test, score"),
        ({"model": "resnet"}, r"model must be a torch.nn.Module"),
        ({"example": torch.zeros(1, 6)}, r"must hold at least 2 inputs, got 1"),
        (
            {"model": nn.Unflatten(0, (8, 1))},
            r"fails on the first 2 samples of a batch: RuntimeError: .*batches of any size",
        ),
        ({"model": nn.Flatten(0)}, r"an axis of B for B inputs.* with output \[12\]"),
        ({"outputs": "logits"}, r"the task's outputs must be one of classes, .*; got 'logits'"),
    ],
)
def test_a_part_that_does_not_fit_is_named(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_task({"_target_": "tests.search.tasks.made_up.make", **changes}, tmp_path)
