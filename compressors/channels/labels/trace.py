"""One run of a model in which every operation hands on the labels of the channels."""

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from compressors.channels.labels import equivalence, facets
from compressors.channels.labels.facets import Facet


class Trace:
    """The labels of the tensors of one run; each operation's rule says what becomes of them."""

    def __init__(self, rules: "dict[str, Any]", fallback: Any) -> None:
        self.labels = equivalence.Equivalence()
        self.pieces: list[tuple[equivalence.Labels, equivalence.Labels]] = []
        """Labels at equal places of the pieces into which an axis is split."""
        self.runs: list[tuple[equivalence.Labels, equivalence.Labels]] = []
        """Labels of one piece, where an axis is split into two by a view."""
        self.slices: MutableMapping[Tensor, list[Facet]] = WeakTensorKeyDictionary()
        """By a tensor, the facets of the slices that were taken of it, and their axes."""
        self.where: list[str] = []
        """The modules that run, the innermost last."""
        self._facets: MutableMapping[Tensor, list[Facet]] = WeakTensorKeyDictionary()
        self._rules, self._fallback = rules, fallback

    def watching(self) -> AbstractContextManager[Any]:
        """Return a context in which every operation of torch runs through `operation`."""

        def dispatch(_mode: Any, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return self.operation(func, args, kwargs or {})

        mode: Any = type("Watching", (TorchDispatchMode,), {"__torch_dispatch__": dispatch})
        return cast(AbstractContextManager[Any], mode())

    def operation(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run one operation, and let its rule label what it returns."""
        out = func(*args, **kwargs)
        if any(self.of(tensor) for tensor in _tensors((args, kwargs))):
            name = func.overloadpacket.__name__.rstrip("_").lstrip("_")
            self._rules.get(name, self._fallback)(self, func, args, kwargs, out)
        return out

    def of(self, tensor: Any) -> list[Facet]:
        """Return the facets of a tensor, none if it has no channels."""
        return self._facets.get(tensor, []) if isinstance(tensor, Tensor) else []

    def label(self, tensor: Tensor, found: Iterable[Facet]) -> None:
        """Give a tensor facets of its shape; of several that run along the same axes, the first."""
        kept: dict[frozenset[int], Facet] = {}
        for facet in found:
            rooted = facets.folded(self.rooted(facet))
            axes = facets.varying(rooted)
            if axes:
                kept.setdefault(axes, rooted)
        self._facets[tensor] = list(kept.values())

    def rooted(self, facet: Facet) -> Facet:
        """Return a facet with the labels that stand for those they are united with."""
        small = facets.compact(facet)
        return torch.from_numpy(self.labels.root(numbers(small))).double().expand(facet.shape)

    def unite(self, one: Facet, other: Facet) -> None:
        """Unite the labels of two facets, one broadcast to the other's shape."""
        small = numbers(facets.compact(one)), numbers(facets.compact(other))
        self.labels.unite(*np.broadcast_arrays(*small))

    def unite_along(self, facet: Facet, axes: Sequence[int]) -> None:
        """Unite the labels of a facet that differ along some axes only."""
        for axis in axes:
            self.unite(facet, facet.narrow(axis, 0, 1))

    def freeze(self, tensors: Iterable[Any], reason: str) -> None:
        """Note why the channels of some tensors have to stay."""
        for tensor in tensors:
            for facet in self.of(tensor):
                self.hold(facet, reason)

    def hold(self, facet: Facet | None, reason: str) -> None:
        """Note why the channels of one facet, if there is one, have to stay."""
        place = next((name for name in reversed(self.where) if name), "the model")
        if facet is not None:
            self.labels.freeze(numbers(facets.compact(facet)), f"{reason} in {place}")


def numbers(facet: Tensor) -> equivalence.Labels:
    """Return the labels of a facet as integers, in its shape."""
    return np.asarray(facet.long().numpy())


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
