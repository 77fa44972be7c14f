"""The laws that every compressor of conf/compressor/ keeps, on every kind of network."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from compressors.base import Compressor, run
from compressors.errors import InfeasibleError
from compressors.kinds import MAY_FOLLOW, CompressorKind
from compressors.testing.task import ToyTask
from compressors.training.loop import TrainingSettings, train
from compressors.weights.compressible import compressible_weights
from compressors.weights.encoded import coded_weights
from search.trial.model_counts import count_parameters
from tests.acting import NAMES, acting, compressor_class
from tests.zoo import ARCHITECTURES, toy_task

FLAT = {"recurrent", "gru", "lstm"}
"""Networks without a block that keeps the shape of its input."""

INFEASIBLE = {("layer_removal", net) for net in FLAT}
"""Compressor and network that do not go together, with a reason given; all others must work."""

KEPT_IN_TRAINING = {CompressorKind.MASKS_WEIGHTS, CompressorKind.ENCODES_WEIGHTS}
"""Kinds that leave something on the weights, which training must keep."""

PAIRS = [(name, net) for name in NAMES for net in ARCHITECTURES if (name, net) not in INFEASIBLE]
HOLDING = [(name, net) for name, net in PAIRS if compressor_class(name).kind in KEPT_IN_TRAINING]

task_of = cache(toy_task)


def apply(compressor: Compressor, model: nn.Module, task: ToyTask) -> nn.Module:
    torch.manual_seed(7)
    return compressor(model, task)


@cache
def compressed(name: str, net: str) -> nn.Module:
    task = task_of(net)
    return apply(acting(name), task.baseline, task)


def outputs(model: nn.Module, task: ToyTask) -> Tensor:
    with torch.no_grad():
        return run(model, task.inputs)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal_states(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def non_zeros(model: nn.Module) -> int:
    in_weights = sum(int(w.value().count_nonzero()) for w in compressible_weights(model))
    others = [p for name, p in model.named_parameters() if "parametrizations" not in name]
    weights = {id(getattr(m, a)) for w in compressible_weights(model) for m, a in w.places}
    return in_weights + sum(int(p.count_nonzero()) for p in others if id(p) not in weights)


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_input_model_is_unchanged(name: str, net: str) -> None:
    task = toy_task(net)
    model = task.baseline
    before, said = state(model), outputs(model, task)
    apply(acting(name), model, task)
    assert equal_states(before, state(model))
    assert torch.equal(said, outputs(model, task))
    assert not model.training
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_output_shape_is_kept_and_finite(name: str, net: str) -> None:
    task = task_of(net)
    said = outputs(compressed(name, net), task)
    assert said.shape == task.logits.shape
    assert said.isfinite().all()


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_it_acts(name: str, net: str) -> None:
    compressor = acting(name)
    task = task_of(net)
    assert compressor.active
    assert not torch.equal(outputs(compressed(name, net), task), task.logits)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("net", ARCHITECTURES)
def test_built_with_no_arguments_it_does_nothing(name: str, net: str) -> None:
    task = task_of(net)
    compressor = compressor_class(name)()
    assert not compressor.active
    same = compressor(task.baseline, task)
    assert same is not task.baseline
    assert equal_states(state(same), state(task.baseline))
    assert torch.equal(outputs(same, task), task.logits)


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_result_is_frozen_in_eval_mode_and_has_no_hooks(name: str, net: str) -> None:
    model = compressed(name, net)
    assert not any(module.training for module in model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_result_survives_deepcopy(name: str, net: str) -> None:
    task, model = task_of(net), compressed(name, net)
    said = outputs(model, task)
    assert torch.equal(outputs(deepcopy(model), task), said)


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_result_survives_saving_and_reloading(name: str, net: str, tmp_path) -> None:
    task, model = task_of(net), compressed(name, net)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = deepcopy(model)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(outputs(other, task), outputs(model, task))


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_result_is_never_larger(name: str, net: str) -> None:
    task, model = task_of(net), compressed(name, net)
    assert count_parameters(model) <= count_parameters(task.baseline)
    if acting(name).kind is not CompressorKind.RECOVERS:  # training moves weights off zero
        assert non_zeros(model) <= non_zeros(task.baseline)


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_same_seed_gives_the_same_result(name: str, net: str) -> None:
    task = toy_task(net)
    again = apply(acting(name), task.baseline, task)
    assert equal_states(state(again), state(compressed(name, net)))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_act_on_is_infeasible(name: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Softmax(-1)).eval()
    task = ToyTask(model, torch.randn(8, 4), torch.zeros(8, dtype=torch.long))
    with pytest.raises(InfeasibleError, match=r"^[a-z ]+: .{10,}"):
        acting(name)(model, task)


@pytest.mark.parametrize(("name", "net"), sorted(INFEASIBLE))
def test_what_cannot_work_says_why(name: str, net: str) -> None:
    with pytest.raises(InfeasibleError, match="no block returns one tensor of the shape"):
        acting(name)(task_of(net).baseline, task_of(net))


@pytest.mark.parametrize(("name", "net"), HOLDING)
def test_masks_and_codes_survive_training(name: str, net: str) -> None:
    task, model = task_of(net), deepcopy(compressed(name, net))
    before = [w.value().clone() for w in compressible_weights(model)]
    trained(model, task)
    after = [w.value() for w in compressible_weights(model)]
    assert not all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    for old, new in zip(before, after, strict=True):
        if acting(name).kind is CompressorKind.MASKS_WEIGHTS:
            assert (new[old == 0] == 0).all()
        if name == "weight_sharing":
            assert len(new.unique()) <= len(old.unique())
    for code, value in coded_with_values(model):
        assert torch.equal(torch.from_numpy(code.decode()), value)


@pytest.mark.parametrize(("name", "net"), PAIRS)
def test_codes_decode_to_the_weights_in_use(name: str, net: str) -> None:
    model = compressed(name, net)
    codes = list(coded_with_values(model))
    assert bool(codes) == (acting(name).kind is CompressorKind.ENCODES_WEIGHTS)
    for code, value in codes:
        assert torch.equal(
            torch.from_numpy(code.decode()).view(torch.int32), value.view(torch.int32)
        )


@pytest.mark.parametrize("net", ARCHITECTURES)
@pytest.mark.parametrize("last", ["weight_sharing", "quantization"])
def test_a_whole_chain_works(net: str, last: str) -> None:
    task = task_of(net)
    names = ["layer_removal", "channel_pruning", "weight_pruning", "distillation", last]
    steps = [
        acting(name, epochs=1) if name == "distillation" else acting(name)
        for name in names
        if (name, net) not in INFEASIBLE
    ]
    assert_order_is_legal(steps)
    model = task.baseline
    for step in steps:
        before, said = state(model), outputs(model, task)
        smaller = apply(step, model, task)
        assert equal_states(before, state(model))
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


def trained(model: nn.Module, task: ToyTask) -> None:
    model.requires_grad_(True)
    train(
        model,
        task.train_batches,
        task.loss,
        TrainingSettings(epochs=1, learning_rate=5e-3, weight_decay=0.1),
    )
    model.requires_grad_(False)


def coded_with_values(model: nn.Module) -> Iterator[tuple]:
    places = {
        f"{path}.{attribute}".lstrip("."): (module, attribute)
        for path, module in model.named_modules()
        for attribute in getattr(module, "parametrizations", {})
    }
    for name, code in coded_weights(model).items():
        module, attribute = places[name]
        yield code, getattr(module, attribute).detach()
