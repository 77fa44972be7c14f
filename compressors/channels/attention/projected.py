"""Attention that a model's own code computes from linear layers, and how its heads lie in them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from compressors.base import Inputs
from compressors.channels.calls import Call, recorded_calls
from compressors.models.fused_attention import plain_attention
from compressors.models.hooks import forward_hooks, forward_pre_hooks


@dataclass(frozen=True, kw_only=True, eq=False)
class ProjectedAttention:
    """A module that computes attention between its linear layers, head by head.

    Heads that share keys and values (Ainslie et al., 2023, arXiv:2305.13245) are one group.
    """

    module: nn.Module
    """Holds the layers as children."""
    inward: dict[str, Tensor]
    """By the child's name, the rows of each layer that belong to each group, `[groups, rows]`."""
    out: str | None
    """Name of the child that receives the heads; None if it is in another module."""
    columns: int
    """Width of all heads together."""
    groups: int
    """Number of groups of heads that have keys and values of their own."""
    heads: int
    """Number of heads of queries."""

    @property
    def group_width(self) -> int:
        """Width of the heads of one group together."""
        return self.columns // self.groups


def linear_children(module: nn.Module) -> dict[str, nn.Linear]:
    """Return a module's own linear layers by name, none if other modules in it hold some."""
    own = {name: m for name, m in module.named_children() if isinstance(m, nn.Linear)}
    held = [m for m in module.modules() if isinstance(m, nn.Linear)]
    return own if len(own) == len(held) else {}


def projected_attention(
    model: nn.Module, example: Inputs, module: nn.Module
) -> ProjectedAttention | None:
    """Return what kind of attention a module computes, None if it is none.

    It has two to four linear layers. A mark in one row of a layer for queries or keys spreads over
    its own head; a mark in all rows of some groups reaches the columns of these groups alone. Rows
    may be those of separate layers, or of one layer for queries, keys and values, which lie one
    after another or head by head.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        module: A module of the model.
    """
    layers = linear_children(module)
    if len(layers) not in (2, 3, 4) or isinstance(module, nn.MultiheadAttention):
        return None
    calls = recorded_calls(model, example, module)
    if len(calls) != 1:
        return None
    probe = _Probe(module, layers, calls[0])
    receivers = {name: probe.receiver(name) for name in layers}
    known = {receiver for receiver in receivers.values() if receiver}
    out = next(iter(known)) if len(known) == 1 else None
    inward = [name for name in layers if name != out]
    if len(known) > 1 or any(receivers[name] != out for name in inward):
        return None
    found = [reached for name in inward for reached in probe.reached_columns(name, out)]
    return _attention(probe, inward, out, found) if all(bool(one.any()) for one in found) else None


def _attention(
    probe: "_Probe", inward: list[str], out: str | None, reached: list[Tensor]
) -> ProjectedAttention | None:
    """Return the attention for what single rows of its layers reach, boolean `[C]` each.

    A row of values reaches one column of each head of its group, a row of keys all of them.
    """
    columns = len(reached[0])
    widths = [int(one.sum()) for one in reached]
    group_width, group_heads = max(widths), min(widths)
    if group_width < 2 or columns % group_width or columns == group_width:
        return None
    groups = columns // group_width
    rows = {name: probe.rows(name, out, groups) for name in inward}
    known = {name: found for name, found in rows.items() if found is not None}
    if len(known) < len(rows) or group_width % group_heads:
        return None
    return ProjectedAttention(
        module=probe.module,
        inward=known,
        out=out,
        columns=columns,
        groups=groups,
        heads=groups * group_heads,
    )


@dataclass(frozen=True)
class _Probe:
    """One call of a module, repeated with marks (NaN) in the outputs of its layers."""

    module: nn.Module
    layers: dict[str, nn.Linear]
    call: Call

    def receiver(self, name: str) -> str | None:
        """Return the layer that the first row of a layer reaches, None for no other layer."""
        for receiver, columns in self._reached(name, torch.tensor([0])).items():
            if columns is not None and bool(columns.any()):
                return receiver
        return None

    def reached_columns(self, name: str, out: str | None) -> list[Tensor]:
        """Return the columns that some single rows of a layer reach, boolean `[C]` each.

        If the layer holds queries, keys and values, these are a row of each.
        """
        first = self._reached(name, torch.tensor([0])).get(out)
        if first is None:
            return [torch.zeros(1, dtype=torch.bool)]
        rows = self.layers[name].out_features
        others = {rows - 1, min(len(first), rows - 1)} - {0}
        found = (self._reached(name, torch.tensor([row])).get(out) for row in sorted(others))
        return [first, *(one for one in found if one is not None)]

    def rows(self, name: str, out: str | None, groups: int) -> Tensor | None:
        """Return the rows of a layer by group `[groups, N]`, None if no order of them fits."""
        return next(
            (
                rows
                for rows in _orders(self.layers[name].out_features, groups)
                if self._separates(name, out, rows)
            ),
            None,
        )

    def _separates(self, name: str, out: str | None, rows: Tensor) -> bool:
        """Tell whether the rows of each group reach the columns of the group alone."""
        groups = len(rows)
        numbers = torch.arange(groups)
        for bit in range(max(1, (groups - 1).bit_length())):
            for value in (0, 1):
                chosen = (numbers >> bit & 1) == value
                reached = self._reached(name, rows[chosen].flatten()).get(out)
                if reached is None or not bool(reached.any()):
                    return False
                if bool((reached.view(groups, -1).any(1) & ~chosen).any()):
                    return False
        return True

    def _reached(self, name: str, rows: Tensor) -> dict[str | None, Tensor | None]:
        """Return by receiving layer the columns that marks in some rows reach, boolean `[C]`."""
        reached: dict[str | None, Tensor | None] = {}
        names: dict[nn.Module, str] = {layer: name for name, layer in self.layers.items()}

        def mark(_layer: nn.Module, _args: Any, output: Tensor) -> Tensor:
            return output.index_fill(-1, rows.to(output.device), torch.nan)

        def receive(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            reached[names[layer]] = _marked_columns(args[0])
            return (args[0].nan_to_num(), *args[1:])

        with (
            forward_pre_hooks(self.layers.values(), receive),
            forward_hooks([self.layers[name]], mark),
            plain_attention(),
            sdpa_kernel(SDPBackend.MATH),  # fused kernels drop NaN
            torch.no_grad(),
        ):
            output = self.call.repeat(self.module)
        first = output[0] if isinstance(output, tuple) else output
        reached[None] = _marked_columns(first)
        return reached


def _marked_columns(x: Any) -> Tensor | None:
    """Return which entries of the last axis hold a mark, boolean `[C]` of `[..., C]`."""
    if not isinstance(x, Tensor) or x.dim() < 2:
        return None
    return x.isnan().flatten(0, -2).any(0).cpu()


def _orders(outputs: int, groups: int) -> Iterator[Tensor]:
    """Yield the ways in which the rows of a layer may belong to groups, `[groups, N]` each."""
    for parts in _parts(outputs):
        if all(part % groups == 0 for part in parts):
            split = torch.split(torch.arange(outputs), list(parts))
            yield torch.cat([part.view(groups, -1) for part in split], 1)


def _parts(outputs: int) -> Iterable[tuple[int, ...]]:
    """Yield the widths of queries, keys and values that may lie one after another in a layer."""
    yield (outputs,)
    if outputs % 2 == 0:
        yield (outputs // 2, outputs // 2)  # keys and values
    if outputs % 3 == 0:
        yield (outputs // 3,) * 3
    for keys in range(1, outputs // 3):
        if (outputs - 2 * keys) % keys == 0:  # several queries for each key
            yield (outputs - 2 * keys, keys, keys)
