"""Every compressor of conf/compressor/ keeps the laws, on every kind of network."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from compressors.base import Compressor, run
from compressors.errors import InfeasibleError
from compressors.kinds import MAY_FOLLOW
from compressors.testing.case import equal_states, state_of
from compressors.testing.laws import CLASS_LAWS, NETWORK_LAWS, check_compressor
from compressors.testing.networks import NETWORKS
from compressors.testing.task import ToyTask
from compressors.weights.compressible import compressible_weights
from tests.acting import NAMES, acting, acting_values, compressor_class
from tests.zoo import toy_task

FLAT = {"recurrent", "gru", "lstm"}
"""Networks without a block that keeps the shape of its input."""

INFEASIBLE = {"layer_removal": FLAT}
"""Networks that a compressor refuses with a reason; it must work on all others."""

task_of = cache(toy_task)


@pytest.mark.parametrize("law", CLASS_LAWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_law_of_classes_holds(name: str, law: str) -> None:
    check_compressor(compressor_class(name), acting_values(name), networks={}, laws=[law])


@pytest.mark.parametrize("law", NETWORK_LAWS)  # varies fastest, so that each pair compresses once
@pytest.mark.parametrize("net", NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_a_law_of_networks_holds(name: str, net: str, law: str) -> None:
    check_compressor(
        compressor_class(name),
        acting_values(name),
        networks={net: NETWORKS[net]},
        laws=[law],
        infeasible=INFEASIBLE.get(name, ()),
    )


@pytest.mark.parametrize("net", sorted(FLAT))
def test_layer_removal_says_why_it_cannot_work(net: str) -> None:
    with pytest.raises(InfeasibleError, match="no block returns a tensor of the shape of its"):
        acting("layer_removal")(task_of(net).baseline, task_of(net))


@pytest.mark.parametrize("net", NETWORKS)
@pytest.mark.parametrize("last", ["weight_sharing", "quantization"])
def test_a_whole_chain_works(net: str, last: str) -> None:
    task = task_of(net)
    names = ["layer_removal", "channel_pruning", "weight_pruning", "distillation", last]
    steps = [
        acting(name, epochs=1) if name == "distillation" else acting(name)
        for name in names
        if net not in INFEASIBLE.get(name, ())
    ]
    assert_order_is_legal(steps)
    model = task.baseline
    for step in steps:
        before, said = state_of(model), outputs(model, task)
        smaller = apply(step, model, task)
        assert equal_states(before, state_of(model))
        assert torch.equal(outputs(model, task), said)
        model = smaller
    tuned = apply(acting("distillation", epochs=1), model, task)
    for weight, old in zip(compressible_weights(tuned), compressible_weights(model), strict=True):
        assert (weight.value()[old.value() == 0] == 0).all()
    assert outputs(deepcopy(tuned), task).isfinite().all()
    zeros = sum(int((w.value() == 0).sum()) for w in compressible_weights(tuned))
    total = sum(w.value().numel() for w in compressible_weights(tuned))
    assert zeros / total > 0.79


def assert_order_is_legal(steps: list[Compressor]) -> None:
    for i, step in enumerate(steps):
        assert all(later.kind in MAY_FOLLOW[step.kind] for later in steps[i + 1 :])


def apply(compressor: Compressor, model: nn.Module, task: ToyTask) -> nn.Module:
    torch.manual_seed(7)
    return compressor(model, task)


def outputs(model: nn.Module, task: ToyTask) -> Tensor:
    with torch.no_grad():
        return run(model, task.inputs)
