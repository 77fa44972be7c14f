import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compressors.models.fingerprint import fingerprint
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


def drawn() -> dict[str, object]:
    """Return parts whose model and data draw from every global generator, without a seed."""
    found = parts()
    for module in found["model"].modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    with torch.no_grad():
        for parameter in found["model"].parameters():
            parameter += random.random() + float(np.random.rand())  # noqa: NPY002
    return found


def test_what_a_task_draws_without_a_seed_is_the_same_in_every_process(tmp_path: Path) -> None:
    node = {"_target_": "tests.search.tasks.test_loading.drawn"}
    torch.manual_seed(1)
    first = load_task(node, tmp_path)
    torch.manual_seed(2)
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate()
    second = load_task(node, tmp_path)
    assert fingerprint(first.baseline) == fingerprint(second.baseline)
    assert torch.equal(torch.get_rng_state(), before[0])  # the caller's generators are as they were
    assert random.getstate() == before[1]
