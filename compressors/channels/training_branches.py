"""Branches of a model that only training takes, such as auxiliary heads."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from compressors.base import Inputs, run
from compressors.models.fused_attention import run_unfused
from compressors.models.hooks import forward_pre_hooks

FAILURES = (RuntimeError, ValueError, IndexError, AssertionError, TypeError, AttributeError)
"""What the user's code raises on a width that it does not expect, or without its targets."""


@contextmanager
def called_layers(model: nn.Module) -> Iterator[set[nn.Module]]:
    """Collect the layers with parameters that are called inside the block."""
    called: set[nn.Module] = set()
    with forward_pre_hooks(_layers(model), lambda layer, _args: called.add(layer)):
        yield called


@contextmanager
def training_branches(model: nn.Module) -> Iterator[None]:
    """Let the user's modules run as in training inside the block.

    Layers of torch stay in eval mode, and torch's global generator is as before afterwards.
    """
    switched = [module for module in model.modules() if _may_branch(module)]
    modes = [module.training for module in switched]
    with torch.random.fork_rng(devices=[]):
        try:
            for module in switched:
                module.training = True
            yield
        finally:
            for module, mode in zip(switched, modes, strict=True):
                module.training = mode


def run_all_branches(model: nn.Module, inputs: Inputs) -> Any:
    """Return a model's outputs on one batch `[B, ...]`, as in training if more layers run then."""
    more = runs_more_in_training(model, inputs)
    with training_branches(model) if more else nullcontext():
        return run(model, inputs)


def runs_more_in_training(model: nn.Module, example: Inputs) -> bool:
    """Tell whether layers run in `training_branches` that do not run else, and none fewer.

    Args:
        model: A model in eval mode.
        example: One batch of inputs `[B, ...]`, on the model's device.
    """
    with called_layers(model) as called:
        run_unfused(model, example)
    return bool(called_only_in_training(model, example, called))


def called_only_in_training(
    model: nn.Module, example: Inputs, called: set[nn.Module]
) -> set[nn.Module] | None:
    """Return the layers that only training calls; None if training does not call all the others.

    Args:
        model: A model in eval mode.
        example: One batch of inputs `[B, ...]`, on the model's device.
        called: The layers that are called in eval mode.
    """
    if len(called) == len(_layers(model)):
        return set()
    try:
        with training_branches(model), called_layers(model) as trained:
            run_unfused(model, example)
    except FAILURES:
        return None  # it cannot be trained as it is, so that nothing is to be kept consistent
    return trained - called if trained >= called else None


def training_runs(model: nn.Module, example: Inputs) -> bool:
    """Tell whether a model runs with its training branches.

    Args:
        model: A model in eval mode.
        example: One batch of inputs `[B, ...]`, on the model's device.
    """
    try:
        with training_branches(model):
            run_unfused(model, example)
    except FAILURES:
        return False
    return True


def _layers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]


def _may_branch(module: nn.Module) -> bool:
    """Whether a module is of the user's own code, and none that draws or keeps statistics."""
    if isinstance(module, _NormBase | _DropoutNd | nn.RNNBase):
        return False
    return not type(module).__module__.startswith(("torch.", "compressors."))
