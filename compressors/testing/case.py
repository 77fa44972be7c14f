"""One compressor on one network: what the laws look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Compressor, run
from compressors.testing.networks import Network
from compressors.testing.task import ToyTask
from compressors.weights.encoded import coded_weights

CompressorClass = Any
"""A class whose instances are compressors; it is called with the values of its fields."""

SEED = 7
"""Seed of torch's generator before a compressor is called."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A compressor class and values at which it acts, on one network."""

    compressor_class: CompressorClass
    values: Mapping[str, Any]
    network: Network

    @property
    def compressor(self) -> Compressor:
        """The compressor with its values."""
        made: Compressor = self.compressor_class(**self.values)
        return made

    @cached_property
    def task(self) -> ToyTask:
        """The task of the network."""
        return self.network.task()

    @cached_property
    def result(self) -> nn.Module:
        """The compressed model; a law that changes it copies it first."""
        return self.compress(self.task)

    def compress(self, task: ToyTask) -> nn.Module:
        """Return the baseline of a task, compressed with a fixed seed."""
        torch.manual_seed(SEED)
        return self.compressor(task.baseline, task)

    def outputs(self, model: nn.Module) -> Tensor:
        """Return a model's logits for all samples of the task, `[B, C]` if it keeps the shape."""
        with torch.no_grad():
            return self.task.outputs.select(run(model, self.task.inputs))


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state dict of a model."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal_states(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Return whether two state dicts have the same names and the same values, of any shape."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def is_frozen(model: nn.Module) -> bool:
    """Return whether a model is in eval mode and no parameter has or requires a gradient."""
    return not any(module.training for module in model.modules()) and not any(
        p.requires_grad or p.grad is not None for p in model.parameters()
    )


def has_hooks(model: nn.Module) -> bool:
    """Return whether any module has a forward hook."""
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def codes_of(model: nn.Module) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Yield the name, the decoded value and the value in use of every encoded weight `[R, ...]`."""
    for name, code in coded_weights(model).items():
        path, _, attribute = name.rpartition(".")
        value: Tensor = getattr(model.get_submodule(path), attribute)
        yield name, code.decode(), value.detach().cpu().numpy()
