"""Hooks see every forward pass in their block, and none is left behind however it ends."""

from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compressors.models.hooks import forward_hooks, forward_pre_hooks

Hooks = Callable[..., ExitStack]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))


def hooks_on(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("hooks", [forward_hooks, forward_pre_hooks])
def test_hooks_see_the_passes_of_their_block_and_no_others(hooks: Hooks) -> None:
    model, seen = network(), []
    with hooks(model, lambda module, *_: seen.append(module)):
        model(torch.ones(1, 2))
        assert hooks_on(model) == 2
    assert seen == list(model)
    model(torch.ones(1, 2))
    assert len(seen) == 2


@pytest.mark.parametrize("hooks", [forward_hooks, forward_pre_hooks])
def test_hooks_are_removed_when_the_block_raises(hooks: Hooks) -> None:
    model = network()
    with pytest.raises(ZeroDivisionError), hooks(model, lambda *_: None):
        raise ZeroDivisionError
    assert hooks_on(model) == 0


@pytest.mark.parametrize("hooks", [forward_hooks, forward_pre_hooks])
def test_hooks_are_removed_when_a_later_registration_raises(hooks: Hooks) -> None:
    model = network()
    with (
        pytest.raises(AttributeError, match="register_forward"),
        hooks([*model, object()], lambda *_: None),
    ):
        pass
    assert hooks_on(model) == 0


@pytest.mark.parametrize("hooks", [forward_hooks, forward_pre_hooks])
def test_a_model_can_be_copied_while_an_owner_of_hooks_watches_it(hooks: Hooks) -> None:
    class Owner:
        def __init__(self, model: nn.Module) -> None:
            self.seen = 0
            self.hooks = hooks([model], self.record)

        def record(self, *_: Any) -> None:
            self.seen += 1

    model = network()
    owner = Owner(model)
    copy = deepcopy(model)
    copy(torch.ones(1, 2))
    assert owner.seen == 0
    model(torch.ones(1, 2))
    assert owner.seen == 1
    owner.hooks.close()
    assert hooks_on(model) == 0


@pytest.mark.parametrize("hooks", [forward_hooks, forward_pre_hooks])
def test_hooks_of_others_stay(hooks: Hooks) -> None:
    model = network()
    model[0].register_forward_hook(lambda *_: None)
    with hooks(model, lambda *_: None):
        assert hooks_on(model) == 3
    assert hooks_on(model) == 1


def test_returned_values_replace_arguments_and_outputs() -> None:
    model = network()
    expected = model[1](torch.zeros(1, 3)) + 1

    def zeros(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.zeros_like(args[0]),)

    def one_more(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        return output + 1

    with forward_pre_hooks([model[1]], zeros), forward_hooks([model[1]], one_more):
        assert torch.equal(model(torch.ones(1, 2)), expected)


def test_keyword_arguments_reach_hooks_that_ask_for_them() -> None:
    layer, seen = nn.Linear(2, 3), []

    def record(_module: nn.Module, args: Any, kwargs: dict[str, Tensor], *_output: Tensor) -> None:
        seen.append((args, list(kwargs)))

    with (
        forward_pre_hooks([layer], record, with_kwargs=True),
        forward_hooks([layer], record, with_kwargs=True),
    ):
        layer(input=torch.ones(1, 2))
    assert seen == [((), ["input"]), ((), ["input"])]
