"""Models after the first steps of a recipe, kept for recipes that begin alike."""

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from compressors.models.copying import (
    copy_model,
    plain_parameters,
    refresh_recurrent_weights,
)
from compressors.models.fingerprint import fingerprint
from search.recipe.recipe import Step
from search.tasks.task import EvaluatedTask
from search.utils.array_cache import ArrayCache
from search.utils.provenance import methods_digest, source_digest
from search.utils.user_key import sealed, unsealed

MIN_SECONDS = 0.05
"""A state that was computed in less time is not written to disk."""
UNPICKLABLE = (pickle.PicklingError, AttributeError, TypeError, RuntimeError)
"""What pickle raises for a model whose class is local to a function, or that holds a lambda, and
torch for one that is compiled or too deep."""
MAX_IN_MEMORY = 6
"""The number of latest states that stay in memory."""
MAX_BYTES_IN_MEMORY = 1 << 26
"""Size of the largest model that stays in memory if there is a disk."""


@dataclass(frozen=True, kw_only=True)
class State:
    """A model after some steps of a recipe, and the shares that the steps removed."""

    model: nn.Module
    achieved: Mapping[str, float]


@dataclass(kw_only=True)
class PrefixCache:
    """The states after the first steps of recipes, in memory and, if costly to compute, on disk.

    Models are pickled into the folder of the study, behind the signature of the user: what anybody
    else has put there is not read. Without a place for the user's key they stay in memory.
    """

    cache: ArrayCache | None
    """None to keep states in memory only."""
    context: str
    """What a state depends on beside the steps: baseline, data, seed and code."""
    _in_memory: dict[str, State] = field(default_factory=dict)

    def longest(self, steps: Sequence[Step]) -> tuple[int, State | None]:
        """Return the number of first steps whose state is known, and that state."""
        for count in range(len(steps), 0, -1):
            key = self._key(steps[:count])
            if key in self._in_memory:
                return count, self._in_memory[key]
            kept = self.cache.find(key) if self.cache else None
            content = unsealed(kept["state"].tobytes()) if kept else None
            state = _load(content) if content is not None else None
            if state is not None:
                self._remember(key, state)
                return count, state
        return 0, None

    def keep(self, steps: Sequence[Step], state: State, seconds: float) -> None:
        """Keep the state after some steps.

        Args:
            steps: The first steps of a recipe.
            state: The model after them.
            seconds: The time that the last step took.
        """
        key = self._key(steps)
        self._remember(key, state)
        if self.cache is not None and seconds >= MIN_SECONDS:
            try:
                content = sealed(_dump(state))
            except UNPICKLABLE:
                return
            if content is not None:
                self.cache.keep(key, {"state": np.frombuffer(content, np.uint8)})

    def _remember(self, key: str, state: State) -> None:
        if self.cache is not None and _bytes(state.model) > MAX_BYTES_IN_MEMORY:
            return
        self._in_memory[key] = state
        while len(self._in_memory) > MAX_IN_MEMORY:
            del self._in_memory[next(iter(self._in_memory))]

    def _key(self, steps: Sequence[Step]) -> str:
        described = [
            (step.name, step.target, source_digest(step.target), sorted(step.values.items()))
            for step in steps
        ]
        return f"prefix {self.context} {json.dumps(described)}"


def open_prefix_cache(folder: Path | None, task: EvaluatedTask, seed: int) -> PrefixCache:
    """Return the cache of a task's models between steps.

    Args:
        folder: Where they are kept on disk; None to keep them in memory only.
        task: Its baseline and data are part of the context.
        seed: Seed of the recipes.
    """
    known = (torch.__version__, fingerprint(task.baseline), task.data_digest, seed)
    context = " ".join(str(part) for part in (methods_digest(), *known))
    cache = ArrayCache(folder=folder) if folder else None
    return PrefixCache(cache=cache, context=context)


def _bytes(model: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())


def _dump(state: State) -> bytes:
    """Return a state as bytes: the model with plain weights, and its parametrisations."""
    model = copy_model(state.model, plain_parameters(state.model))
    chains = [
        (path, name, list(chain), chain.unsafe)
        for path, module in model.named_modules()
        for name, chain in getattr(module, "parametrizations", {}).items()
    ]
    for path, name, *_ in chains:
        remove_parametrizations(model.get_submodule(path), name, leave_parametrized=False)
    stream = io.BytesIO()
    torch.save((model, chains, dict(state.achieved)), stream)
    return stream.getvalue()


def _load(content: bytes) -> State | None:
    """Return the state; None if a class of the model no longer exists."""
    try:
        model, chains, achieved = torch.load(io.BytesIO(content), weights_only=False)
    except (AttributeError, ModuleNotFoundError):
        return None
    for path, name, chain, unsafe in chains:
        module = model.get_submodule(path)
        for step in chain:
            register_parametrization(module, name, step, unsafe=True)
        module.parametrizations[name].unsafe = unsafe
    refresh_recurrent_weights(model)
    return State(model=model.eval().requires_grad_(False), achieved=achieved)
