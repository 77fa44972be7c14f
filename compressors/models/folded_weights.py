"""Weights from which a model's own code computes others before it uses them, as `weight * gain`."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from compressors.base import Inputs, output_tensors, run
from compressors.models.calibration import device_of, few, to_device
from compressors.models.fused_attention import plain_attention
from compressors.weights.compressible import compressible_weights

REASON = (
    "the model's code computes another tensor from its weight in every call, which is what a file "
    "holds; make that tensor the parameter, and it can be encoded"
)
ATEN = torch.ops.aten
CARRIERS = (
    ATEN.cat.default,
    ATEN.stack.default,
    ATEN.clone.default,
    ATEN._to_copy.default,
    ATEN.embedding.default,
    ATEN.index_select.default,
    ATEN.index.Tensor,
)
"""Operators beside views whose results hold the rows of what they are given."""


def folded_weights(model: nn.Module, example: Inputs) -> set[str]:
    """Return the names of the weights that no input meets, only what is computed from them.

    An exporter computes such tensors once and for all: a code of the weight itself reaches no file.

    Args:
        model: A model in eval mode.
        example: One batch of inputs `[B, ...]` on any device.
    """
    inputs = to_device(few(example), device_of(model))
    with parametrize.cached(), torch.no_grad(), plain_attention():
        values = [
            (getattr(module, attribute), weight.name)
            for weight in compressible_weights(model)
            for module, attribute in weight.places
        ]
        watch = _Watch(output_tensors(inputs), values)
        with watch:
            run(model, inputs)
    return watch.folded - watch.met


def layers_left(model: nn.Module, example: Inputs) -> dict[str, str]:
    """Return by the name of a layer with such a weight why methods that encode weights leave it.

    Args:
        model: A model in eval mode.
        example: One batch of inputs `[B, ...]` on any device.
    """
    names = sorted(folded_weights(model, example))
    return {name.rpartition(".")[0]: REASON for name in names}


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what depends on the inputs, and what is a weight seen in another shape."""

    def __init__(self, inputs: Iterable[Tensor], weights: Iterable[tuple[Tensor, str]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.met: set[str] = set()
        """Names of the weights that are used together with what depends on the inputs."""
        self.folded: set[str] = set()
        """Names of the weights that are used with other parameters and constants alone."""
        self._kept: list[Tensor] = []  # so that no identity is given twice
        self._live = {self._id(tensor) for tensor in inputs}
        self._names: dict[int, set[str]] = {}
        for tensor, name in weights:
            self._names.setdefault(self._id(tensor), set()).add(name)

    def _id(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return id(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        given = [t for t in tree_leaves((args, kwargs or {})) if isinstance(t, Tensor)]
        made = [t for t in tree_leaves(found) if isinstance(t, Tensor)]
        names = set().union(*(self._names.get(id(tensor), set()) for tensor in given))
        if any(id(tensor) in self._live for tensor in given):
            self.met |= names
            self._live |= {self._id(tensor) for tensor in made}
        elif names and (func in CARRIERS or all(_is_view(tensor, given[0]) for tensor in made)):
            for tensor in made:
                self._names.setdefault(self._id(tensor), set()).update(names)
        else:
            self.folded |= names
        return found


def _is_view(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
