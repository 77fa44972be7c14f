"""A stand-in returns what it was given, in the structure of the block that it stands for."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compressors.layers.pass_through import pass_through_of

X, MASK, CACHE = torch.randn(2, 3, 4), torch.ones(2, 3), object()


@dataclass
class Output:
    hidden_states: Tensor
    cache: Any = None


class Block(nn.Linear):
    attention_type = "full"

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.layer_idx = 7


@pytest.mark.parametrize(
    "outputs",
    [
        lambda x: x + 1,
        lambda x: (x + 1,),
        lambda x: (x + 1, None, CACHE),
        lambda x: [x + 1, MASK],
        lambda x: {"hidden_states": x + 1, "cache": CACHE},
        lambda x: Output(hidden_states=x + 1, cache=CACHE),
        lambda x: ((x + 1, 0.5), {"mask": MASK}),
    ],
    ids=["tensor", "one", "tuple", "list", "dict", "dataclass", "nested"],
)
@pytest.mark.parametrize("by_name", [False, True])
def test_structure_constants_and_handed_on_inputs_stay(outputs, by_name: bool) -> None:
    given = {"mask": MASK, "cache": CACHE}
    args, kwargs = ((), {"hidden_states": X} | given) if by_name else ((X,), given)
    stand_in = pass_through_of(Block(), args, kwargs, outputs(X))
    assert stand_in is not None
    found, expected = stand_in(*args, **kwargs), outputs(X)
    assert type(found) is type(expected)
    assert flat(found)[0] is X
    assert all(a is b for a, b in zip(flat(found)[1:], flat(expected)[1:], strict=True))


def flat(value: Any) -> list[Any]:
    if isinstance(value, Output):
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


@pytest.mark.parametrize(
    "outputs",
    [X[:, :2], X.long(), (X + 1, X @ X.mT), (X + 1, object()), None],
    ids=["shape", "type", "own tensor", "own object", "nothing"],
)
def test_a_block_that_makes_something_of_its_own_has_no_stand_in(outputs: Any) -> None:
    assert pass_through_of(Block(), (X,), {}, outputs) is None


def test_constants_that_callers_read_are_those_of_the_block() -> None:
    stand_in = pass_through_of(Block(), (X,), {}, X + 1)
    assert (stand_in.attention_type, stand_in.layer_idx) == ("full", 7)
    assert not any(True for _ in stand_in.parameters())
