"""Keep the layers in floats whose quantisation moves the outputs further than 8 bits explain."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import log10

import onnx

from compressors.weights.encoded import CodedWeight
from search.artefact.onnx_form.export import Feeds
from search.artefact.onnx_form.quantization import (
    integer_operators,
    quantisable_nodes,
    quantise_onnx,
)

DECIBELS_PER_BIT = 6.02
ACTIVATION_BITS = 8
MARGIN_DB = 20.0
"""What one layer may lose of the bits' ratio: a range of 25 times the root mean square of its
values costs 28 dB, and two roundings, of input and output, 3 dB; that noise is uniform gives back
11 dB."""
MAX_PROBES = 48
"""Largest number of groups of neighbouring layers that are quantised alone to rank them."""
MAX_NAMED = 8
"""Number of layers that a note names."""

Measure = Callable[[onnx.ModelProto], float]
"""Writes a graph to the run form's file and returns its fidelity in decibels."""


@dataclass(frozen=True, kw_only=True)
class IntegerForm:
    """A graph with integer operators, as it is in the file."""

    graph: onnx.ModelProto
    fidelity_db: float | None
    """None if nothing runs in integers: the file in floats is as it was."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Quantisation:
    """A graph in floats and all that it is quantised and compared with."""

    floats: onnx.ModelProto
    codes: Sequence[CodedWeight]
    batches: Iterable[Feeds]
    measure: Measure

    def without(self, excluded: Iterable[str]) -> IntegerForm:
        """Quantise all but some nodes, write the file and read it back."""
        graph, notes = quantise_onnx(self.floats, self.codes, self.batches, excluded=set(excluded))
        fidelity = self.measure(graph) if integer_operators(graph) else None
        return IntegerForm(graph=graph, fidelity_db=fidelity, notes=notes)


def least_fidelity_db(layers: int) -> float:
    """Return the least ratio that is taken for rounding to 8 bits in so many layers.

    A bit is worth 6.02 dB, the noise of layers adds up, and 20 dB a layer are left as a margin.
    """
    return DECIBELS_PER_BIT * ACTIVATION_BITS - MARGIN_DB - 10 * log10(max(1, layers))


def quantise_faithfully(
    floats: onnx.ModelProto,
    codes: Sequence[CodedWeight],
    batches: Iterable[Feeds],
    measure: Measure,
) -> IntegerForm:
    """Quantise a graph, and keep the costliest layers in floats if the file is far from the model.

    A file at or above `least_fidelity_db` is measured once. Below it every layer, or group of
    neighbouring layers, is quantised alone; the fewest of the costliest ones that lift the file to
    the bound run as floats, found by bisection. The note names them.

    Args:
        floats: The graph in floats, which is left as it is.
        codes: Codes of all encoded weights.
        batches: Batches of inputs for calibration, which can be read again and again.
        measure: Writes a graph as the file and compares its outputs with the model's.
    """
    quantisation = _Quantisation(floats=floats, codes=codes, batches=batches, measure=measure)
    whole = quantisation.without(())
    if _near(whole):
        return whole
    kept, best = _fewest_floats(quantisation)
    measure(best.graph)  # the file is that of the last graph tried
    return replace(best, notes=(*best.notes, _note(kept, whole, best)))


def _fewest_floats(quantisation: _Quantisation) -> tuple[list[str], IntegerForm]:
    """Return the nodes that have to run as floats, the costliest first, and the form without."""
    ranked = _ranked(quantisation)
    few, many, best = 0, len(ranked), None
    while many - few > 1:  # with the first `few` groups in floats the file is far
        middle = (few + many) // 2
        form = quantisation.without(_names(ranked[:middle]))
        if _near(form):
            many, best = middle, form
        else:
            few = middle
    kept = _names(ranked[:many])
    return kept, best or quantisation.without(kept)


def _near(form: IntegerForm) -> bool:
    layers = integer_operators(form.graph)
    return form.fidelity_db is None or form.fidelity_db >= least_fidelity_db(layers)


def _ranked(quantisation: _Quantisation) -> list[list[str]]:
    """Return groups of neighbouring nodes, the one that costs most when quantised alone first."""
    names = [node.name for node in quantisable_nodes(quantisation.floats, quantisation.codes)]
    size = -(-len(names) // MAX_PROBES)
    groups = [names[start : start + size] for start in range(0, len(names), size)]

    def alone(group: list[str]) -> float:
        fidelity = quantisation.without(set(names) - set(group)).fidelity_db
        return float("inf") if fidelity is None else fidelity

    return sorted(groups, key=alone)


def _names(groups: Iterable[list[str]]) -> list[str]:
    return [name for group in groups for name in group]


def _note(kept: list[str], whole: IntegerForm, best: IntegerForm) -> str:
    named = ", ".join(kept[:MAX_NAMED])
    more = f" and {len(kept) - MAX_NAMED} more" if len(kept) > MAX_NAMED else ""
    bound = least_fidelity_db(integer_operators(whole.graph))
    after = "all are floats now" if best.fidelity_db is None else f"{best.fidelity_db:.1f} dB now"
    return (
        f"{len(kept)} layers run as floats, since the file with them in integers reached "
        f"{whole.fidelity_db:.1f} dB against the model, less than {bound:.1f} dB ({after}): "
        f"{named}{more}"
    )
