"""Laws that a compressor keeps on every network."""

import io
from collections.abc import Callable, Mapping
from copy import deepcopy
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from compressors.kinds import CompressorKind
from compressors.testing.case import Case, codes_of, equal_states, has_hooks, is_frozen, state_of
from compressors.training.loop import TrainingSettings, train
from compressors.weights.compressible import compressible_weights
from compressors.weights.in_use import parameters_in_use

NetworkLaw = Callable[[Case], str | None]
"""Returns what is wrong with a case, None if the law holds."""


def leaves_the_input_unchanged(case: Case) -> str | None:
    """The model that comes in keeps its weights, outputs, mode, gradients and hooks."""
    task = case.network.task()
    model, before = task.baseline, state_of(task.baseline)
    case.compress(task)
    if not equal_states(before, state_of(model)):
        return "the state dict of the model that came in has changed"
    if not torch.equal(task.logits, case.outputs(model)):
        return "the outputs of the model that came in have changed"
    if not is_frozen(model) or has_hooks(model):
        return "the model that came in was left in training mode, with gradients or with hooks"
    return None


def keeps_the_shape_of_outputs(case: Case) -> str | None:
    """The outputs have the same shape and are finite."""
    said, expected = case.outputs(case.result), case.task.logits
    if said.shape != expected.shape:
        return f"the outputs are {tuple(said.shape)}, those of the input {tuple(expected.shape)}"
    if not said.isfinite().all():
        return "outputs are not finite"
    return None


def acts(case: Case) -> str | None:
    """With values at which it is active, the outputs change."""
    if torch.equal(case.outputs(case.result), case.task.logits):
        return "the outputs are those of the input: it has done nothing"
    return None


def does_nothing_by_default(case: Case) -> str | None:
    """Built with no arguments it returns an equal copy."""
    model = case.task.baseline
    same = case.compressor_class()(model, case.task)
    if same is model:
        return "built with no arguments it returns the model itself, not a copy"
    if not equal_states(state_of(same), state_of(model)):
        return "built with no arguments it changes the state dict"
    if not torch.equal(case.outputs(same), case.task.logits):
        return "built with no arguments it changes the outputs"
    return None


def returns_a_frozen_model(case: Case) -> str | None:
    """The result is in eval mode, without gradients and without hooks."""
    if not is_frozen(case.result):
        return "the result is in training mode or its parameters have or require gradients"
    if has_hooks(case.result):
        return "the result has forward hooks"
    return None


def survives_copying(case: Case) -> str | None:
    """A deep copy of the result gives the same outputs."""
    if not torch.equal(case.outputs(deepcopy(case.result)), case.outputs(case.result)):
        return "a deep copy of the result gives other outputs"
    return None


def survives_reloading(case: Case) -> str | None:
    """The state dict of the result holds all that its outputs depend on."""
    file = io.BytesIO()
    torch.save(case.result.state_dict(), file)
    file.seek(0)
    other = deepcopy(case.result)
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor.zero_()
    other.load_state_dict(torch.load(file, weights_only=True))
    if not torch.equal(case.outputs(other), case.outputs(case.result)):
        return "a model of zeros that loads the state dict of the result gives other outputs"
    return None


def is_never_larger(case: Case) -> str | None:
    """The result has no more parameters and, unless it was trained, no more non-zero ones."""
    (before, full), (after, left) = _counts(case.task.baseline), _counts(case.result)
    if after > before:
        return f"the result has {after} parameters, the input {before}"
    if left > full and case.compressor.kind is not CompressorKind.RECOVERS:
        return f"the result has {left} parameters that are not zero, the input {full}"
    return None


def repeats_with_the_same_seed(case: Case) -> str | None:
    """The same seed gives the same result, bit for bit."""
    again = case.compress(case.network.task())
    if not equal_states(state_of(again), state_of(case.result)):
        return "two calls with the same seed give different results"
    return None


def keeps_masks_and_codes_in_training(case: Case) -> str | None:
    """When the result is trained, weights move, masked ones stay zero and codes stay exact."""
    kind = case.compressor.kind
    if kind not in (CompressorKind.MASKS_WEIGHTS, CompressorKind.ENCODES_WEIGHTS):
        return None
    model = deepcopy(case.result)
    before = [weight.value().clone() for weight in compressible_weights(model)]
    _train_an_epoch(model, case)
    pairs = list(zip(before, [w.value() for w in compressible_weights(model)], strict=True))
    if all(torch.equal(old, new) for old, new in pairs):
        return "training the result moves none of its weights"
    moved = any(bool((new[old == 0] != 0).any()) for old, new in pairs)
    if kind is CompressorKind.MASKS_WEIGHTS and moved:
        return "training the result moves weights that were zero"
    return _wrong_code(model)


def decodes_to_the_weights_in_use(case: Case) -> str | None:
    """An encoding method, and no other, leaves codes, which decode to the weights in use."""
    encodes = case.compressor.kind is CompressorKind.ENCODES_WEIGHTS
    has_codes = any(True for _ in codes_of(case.result))
    if encodes and not has_codes:
        return "a method that encodes weights leaves none encoded"
    if has_codes and not encodes:
        return "a method of another kind than ENCODES_WEIGHTS leaves encoded weights"
    return _wrong_code(case.result)


def _counts(model: nn.Module) -> tuple[int, int]:
    """Return the number of parameters in use, and how many of them are not zero."""
    weights = [weight for *_, weight in parameters_in_use(model)]
    return sum(w.numel() for w in weights), sum(int(w.count_nonzero()) for w in weights)


def _train_an_epoch(model: nn.Module, case: Case) -> None:
    model.requires_grad_(True)
    settings = TrainingSettings(epochs=1, learning_rate=5e-3, weight_decay=0.1)
    train(model, case.task.train_batches, case.task.loss, settings)
    model.requires_grad_(False)


def _wrong_code(model: nn.Module) -> str | None:
    for name, decoded, in_use in codes_of(model):
        if decoded.shape != in_use.shape or not np.array_equal(
            decoded.view(np.int32), in_use.view(np.int32)
        ):
            return f"the code of {name} does not decode to the weight in use, bit for bit"
    return None


NETWORK_LAWS: Mapping[str, NetworkLaw] = MappingProxyType(
    {
        law.__name__: law
        for law in (
            leaves_the_input_unchanged,
            keeps_the_shape_of_outputs,
            acts,
            does_nothing_by_default,
            returns_a_frozen_model,
            survives_copying,
            survives_reloading,
            is_never_larger,
            repeats_with_the_same_seed,
            keeps_masks_and_codes_in_training,
            decodes_to_the_weights_in_use,
        )
    }
)
"""The laws by name."""
