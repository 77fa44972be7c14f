"""A compressor that breaks a law is caught, and the message says which law and where."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from compressors.base import Task, check_choice, check_range
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.copying import copy_model
from compressors.testing.data import prototypes
from compressors.testing.dense import perceptron
from compressors.testing.laws import LAWS, BrokenLawError, check_compressor
from compressors.testing.networks import NETWORKS, Network
from compressors.weights.codebook import share
from compressors.weights.compressible import compressible_weights


def perceptron_without_biases() -> nn.Module:
    model = perceptron()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.detach().zero_()
    return model


MLP = {"mlp": Network(perceptron_without_biases, prototypes(16))}


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """A method that keeps every law: the small weights of each layer become zero."""

    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE

    threshold: float = 0.0
    rounding: int = 0

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, 0, 1, closed=False)
        check_choice("rounding", self.rounding, (0, 1))

    @property
    def active(self) -> bool:
        return self.threshold > 0

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        pruned = copy_model(model)
        if self.active:
            weights = compressible_weights(pruned)
            if not weights:
                raise InfeasibleError("pruning: the model has no weights of two or more axes")
            for weight in weights:
                value = weight.value()
                value[value.abs() < self.threshold * value.abs().max()] = 0
        return pruned


class Unchecked(Pruning):
    def __post_init__(self) -> None:
        pass


class SaysNothing(Pruning):
    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1 or self.rounding != 0:
            raise ValueError("wrong values")


@dataclass(kw_only=True)
class Changeable:
    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE
    threshold: float = 0.0


class Kindless(Pruning):
    kind = "removes structure"  # type: ignore[assignment]


class AlwaysActive(Pruning):
    active = True  # type: ignore[assignment]


class Silent(Pruning):
    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        return super().__call__(model, task) if compressible_weights(model) else copy_model(model)


class Terse(Pruning):
    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        if self.active and not compressible_weights(model):
            raise InfeasibleError("no")
        return super().__call__(model, task)


class Idle(Pruning):
    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        if self.active and not compressible_weights(model):
            raise InfeasibleError("pruning: the model has no weights of two or more axes")
        return copy_model(model)


class InPlace(Pruning):
    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        pruned = super().__call__(model, task)
        model.load_state_dict(pruned.state_dict())
        return pruned


class Thaws(Pruning):
    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        pruned = super().__call__(model, task)
        model.requires_grad_(True)
        return pruned


class Changed(Pruning):
    """Applies `change` to the result where it acts."""

    def change(self, model: nn.Module) -> nn.Module:
        raise NotImplementedError

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        pruned = super().__call__(model, task)
        return self.change(pruned) if self.active else pruned


class Widens(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        return nn.Sequential(model, nn.ZeroPad1d((0, 1))).eval()


class Overflows(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        next(model.parameters()).mul_(torch.inf)
        return model


class Trains(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        return model.train()


class Hooks(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        model.register_forward_hook(lambda *_: None)
        return model


class Random(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        with torch.random.fork_rng():
            torch.seed()
            next(model.parameters()).mul_(1 + torch.rand(()))
        return model


class Grows(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        extra = nn.Linear(4, 4).requires_grad_(False)
        return nn.Sequential(model, extra).eval()


class Fills(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        for parameter in model.parameters():
            parameter[parameter == 0] = 1e-3
        return model


class Half(nn.Module):
    """A parametrisation whose factor is in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(0.5), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factor


class Forgetful(Half):
    """A parametrisation that a copy resets."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Half:
        copy = Half()
        copy.factor.fill_(0.25)
        return copy


class NotSaved(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        register_parametrization(model[0], "weight", Half())
        return model


class NotCopied(Changed):
    def change(self, model: nn.Module) -> nn.Module:
        register_parametrization(model[0], "weight", Forgetful())
        return model


class Acts(Pruning):
    """Prunes even with no arguments, at a threshold that the class states."""

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        return Pruning(threshold=self.threshold or 0.5)(model, task)


class Same(Pruning):
    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        return super().__call__(model, task) if self.active else model


class Unmasked(Pruning):
    """Zeros without a mask, which training fills."""

    kind = CompressorKind.MASKS_WEIGHTS


class FixedWeights(Changed):
    """Weights that training cannot reach."""

    kind = CompressorKind.MASKS_WEIGHTS

    def change(self, model: nn.Module) -> nn.Module:
        for weight in compressible_weights(model):
            weight.add(Constant(weight.value()))
        return model


class Constant(nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, weight: Tensor) -> Tensor:
        return self.value + 0 * weight


class Uncoded(Pruning):
    kind = CompressorKind.ENCODES_WEIGHTS


class Coded(Changed):
    """A method that removes structure and leaves codes."""

    def change(self, model: nn.Module) -> nn.Module:
        for weight in compressible_weights(model):
            share(weight, 16)
        return model


class WrongCode(Changed):
    """Codes that are not those of the weights in use."""

    kind = CompressorKind.ENCODES_WEIGHTS

    def change(self, model: nn.Module) -> nn.Module:
        for weight in compressible_weights(model):
            share(weight, 16)
            codebook = weight.chain()[-1]
            code = codebook.coded
            codebook.coded = lambda original, code=code: code(original * 1.5)  # type: ignore[method-assign]
        return model


class Refuses(Pruning):
    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        raise InfeasibleError("pruning: there is no network that this takes")


BROKEN: Mapping[Any, str] = {
    Changeable: "is_a_frozen_dataclass",
    Kindless: "is_a_frozen_dataclass",
    AlwaysActive: "is_a_frozen_dataclass",
    Unchecked: "refuses_bad_values",
    SaysNothing: "refuses_bad_values",
    Silent: "needs_something_to_act_on",
    Terse: "needs_something_to_act_on",
    InPlace: "leaves_the_input_unchanged",
    Thaws: "leaves_the_input_unchanged",
    Widens: "keeps_the_shape_of_outputs",
    Overflows: "keeps_the_shape_of_outputs",
    Idle: "acts",
    Acts: "does_nothing_by_default",
    Same: "does_nothing_by_default",
    Trains: "returns_a_frozen_model",
    Hooks: "returns_a_frozen_model",
    NotCopied: "survives_copying",
    NotSaved: "survives_reloading",
    Grows: "is_never_larger",
    Fills: "is_never_larger",
    Random: "repeats_with_the_same_seed",
    Unmasked: "keeps_masks_and_codes_in_training",
    FixedWeights: "keeps_masks_and_codes_in_training",
    Uncoded: "decodes_to_the_weights_in_use",
    Coded: "decodes_to_the_weights_in_use",
    WrongCode: "decodes_to_the_weights_in_use",
    Refuses: "works_or_says_why",
}
"""Classes that each break one law, and the law."""


def test_a_compressor_that_keeps_the_laws_passes_on_every_network() -> None:
    check_compressor(Pruning, {"threshold": 0.5})


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_law_is_found_by_name(cls: Any) -> None:
    law = BROKEN[cls]
    laws = [law] if law in LAWS else ["acts"]
    with pytest.raises(BrokenLawError, match=rf"^{law}: {cls.__name__}\(threshold=0.5\)"):
        check_compressor(cls, {"threshold": 0.5}, networks=MLP, laws=laws)


def test_every_law_is_broken_by_one_of_these() -> None:
    assert {*LAWS, "works_or_says_why"} == set(BROKEN.values())


def test_the_network_is_named() -> None:
    with pytest.raises(BrokenLawError, match=r"^acts: Idle\(threshold=0.5\) on mlp: .* nothing"):
        check_compressor(Idle, {"threshold": 0.5}, networks=MLP)


def test_a_network_listed_as_infeasible_must_be_refused_with_a_reason() -> None:
    network = {"bare": Network(lambda: nn.Flatten(), prototypes(4))}
    check_compressor(Pruning, {"threshold": 0.5}, networks=network, infeasible=["bare"])
    with pytest.raises(BrokenLawError, match=r"works_or_says_why: .* on bare: it raises pruning: "):
        check_compressor(Pruning, {"threshold": 0.5}, networks=network)
    with pytest.raises(BrokenLawError, match=r"works_or_says_why: .* on bare: the message 'no' is"):
        check_compressor(
            Terse, {"threshold": 0.5}, networks=network, laws=["acts"], infeasible=["bare"]
        )
    with pytest.raises(BrokenLawError, match=r"works_or_says_why: .* on mlp: it works"):
        check_compressor(Pruning, {"threshold": 0.5}, networks=MLP, infeasible=["mlp"])


def test_a_law_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"laws must be of .*, got acst"):
        check_compressor(Pruning, {"threshold": 0.5}, laws=["acst"])


def test_laws_leave_the_case_as_it_is() -> None:
    once = deepcopy(NETWORKS["mlp"].task().baseline.state_dict())
    check_compressor(Pruning, {"threshold": 0.5}, networks=MLP)
    again = NETWORKS["mlp"].task().baseline.state_dict()
    assert all(torch.equal(once[name], again[name]) for name in once)
