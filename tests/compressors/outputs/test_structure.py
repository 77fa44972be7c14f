from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from compressors.outputs.structure import matching, named_tensors, part_names, rebuild

Pair = namedtuple("Pair", ["logits", "hidden"])
ONE, TWO = torch.ones(2), torch.full((2, 3), 2.0)


@dataclass
class Named:
    logits: Tensor
    loss: Tensor | None = None
    states: Any = ()


class Ordered(OrderedDict):  # type: ignore[type-arg]
    """A mapping with an attribute of its own."""


STRUCTURES = [
    (ONE, ["output"]),
    ((ONE, TWO), ["0", "1"]),
    ([ONE, None, TWO], ["0", "2"]),
    (Pair(ONE, (TWO, ONE)), ["logits", "hidden.0", "hidden.1"]),
    ({"logits": ONE, "layers": [TWO]}, ["logits", "layers.0"]),
    (Named(logits=ONE, states=(TWO, {"last": ONE})), ["logits", "states.0", "states.1.last"]),
    (Ordered(b=ONE, a=3), ["b"]),
]


@pytest.mark.parametrize(("outputs", "names"), STRUCTURES)
def test_tensors_have_names_and_come_back_in_the_same_structure(
    outputs: Any, names: list[str]
) -> None:
    tensors = named_tensors(outputs)
    assert list(tensors) == names
    doubled = rebuild(outputs, {name: 2 * tensor for name, tensor in tensors.items()})
    assert type(doubled) is type(outputs)
    for name, tensor in named_tensors(doubled).items():
        assert torch.equal(tensor, 2 * tensors[name])
    assert all(named_tensors(outputs)[name] is tensor for name, tensor in tensors.items())


def test_what_is_no_tensor_is_kept() -> None:
    assert rebuild({"a": ONE, "b": None, "c": 3}, {"a": TWO}) == {"a": TWO, "b": None, "c": 3}


def test_two_tensors_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"two tensors with the name .a\.b."):
        named_tensors({"a": {"b": ONE}, "a.b": TWO})


def test_outputs_are_matched_by_shape_and_then_by_nearness() -> None:
    outputs, noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), 0.1
    training = (torch.zeros(4, 3), outputs + noise, outputs[:, :2])
    assert matching(outputs, training) == {"output": "1"}
    assert matching({"small": outputs[:, :2], "none": ONE}, training) == {"small": "2"}


def test_parts_that_are_no_tensor_have_names_too_but_not_those_that_are_none() -> None:
    outputs = {"logits": ONE, "cache": object(), "states": (None, TWO), "x": None}
    assert part_names(outputs) == {"logits", "cache", "states.1"}
    assert part_names(ONE) == {"output"}
