"""Turn the layers with quantised weights of an ONNX graph into integer operators."""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import onnx

from compressors.weights.encoded import CodedWeight
from search.artefact.onnx_form.activation_ranges import Calibration
from search.artefact.onnx_form.block_quantization import quantise_blocks, runs_in_blocks
from search.artefact.onnx_form.dynamic_quantization import (
    WEIGHT_INPUTS,
    quantise_dynamic,
    rows_are_channels,
)
from search.artefact.onnx_form.embedding_quantization import (
    is_quantised_table,
    quantise_embeddings,
)
from search.artefact.onnx_form.export import Feeds
from search.artefact.onnx_form.integer_region import IntegerRegion, integer_region
from search.artefact.onnx_form.integer_types import IntegerTypes, integer_types
from search.artefact.onnx_form.integer_weights import IntegerLayers, IntegerRows, IntegerWeight
from search.artefact.onnx_form.outside import array_of
from search.artefact.onnx_form.rewriting.global_pooling import pool_means
from search.artefact.onnx_form.rewriting.graph_parts import has_unit_factors
from search.artefact.onnx_form.static_quantization import quantise_static


@dataclass(kw_only=True)
class _Plan:
    """How each node runs, and the integers of weights by the initialiser's name."""

    weights: dict[str, IntegerWeight] = field(default_factory=dict)
    static: list[onnx.NodeProto] = field(default_factory=list)
    dynamic: list[onnx.NodeProto] = field(default_factory=list)
    blocks: list[onnx.NodeProto] = field(default_factory=list)
    tables: list[onnx.NodeProto] = field(default_factory=list)
    floats: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """By operator, the bit-widths of quantised weights that run as floats."""

    @property
    def products(self) -> set[str]:
        """The names of matrix products that also run with activations of fixed scales."""
        return {
            node.name
            for node in self.dynamic
            if node.op_type in ("Gemm", "MatMul")
            and has_unit_factors(node)
            and rows_are_channels(node, self.weights[node.input[1]])
        }

    def layers(self, nodes: list[onnx.NodeProto]) -> IntegerLayers:
        """Return nodes of the plan with the integers of their weights."""
        return IntegerLayers(nodes=nodes, weights=self.weights)


def quantise_onnx(
    model: onnx.ModelProto,
    codes: Iterable[CodedWeight],
    batches: Iterable[Feeds],
    machine: IntegerTypes | None = None,
    excluded: Collection[str] = (),
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Return the graph with integer operators, and notes on quantised weights that run as floats.

    Convolutions, and the matrix products that their integers reach, are quantised statically, with
    ranges taken from `batches`; other matrix products and recurrent layers dynamically; matrix
    products with groups, and embeddings, by packed blocks.
    Integers are taken over unchanged, except those of an asymmetric 8-bit weight, which are rounded
    anew to values that the operators take.

    Args:
        model: The graph in floats.
        codes: Codes of all encoded weights, after folding.
        batches: Batches of inputs, each `[B, ...]`, for calibration; read only where there are
            convolutions to quantise.
        machine: Speeds by which the types are chosen; None for this machine's, measured if needed.
        excluded: Names of nodes that stay in floats.

    Raises:
        ValueError: The codes require different methods of calibration.
    """
    codes = list(codes)
    methods = sorted({code.activations for code in codes if code.activations is not None})
    if len(methods) > 1:
        raise ValueError(f"activations are calibrated in one way, got {', '.join(methods)}")
    plan = _plan(model, codes, excluded)
    if plan.blocks:
        model = quantise_blocks(model, plan.layers(plan.blocks))
    if methods and (plan.static or plan.dynamic):
        machine = machine or integer_types()
        dynamic = plan.dynamic
        with _quiet():
            if plan.static:
                model = pool_means(model)
                region, dynamic = _region(model, plan)
                calibration = Calibration(batches=list(batches), method=methods[0])
                model = quantise_static(model, region, plan.weights, calibration, machine)
            if dynamic:
                model = quantise_dynamic(model, plan.layers(dynamic), machine)
    if plan.tables:
        model = quantise_embeddings(model, plan.layers(plan.tables))
    return model, tuple(_notes(plan.floats))


def quantisable_nodes(model: onnx.ModelProto, codes: Iterable[CodedWeight]) -> list[onnx.NodeProto]:
    """Return the nodes, in the graph's order, that `quantise_onnx` would have run in integers."""
    plan = _plan(model, codes)
    chosen = {node.name for node in (*plan.static, *plan.dynamic, *plan.blocks)}
    return [node for node in model.graph.node if node.name in chosen]


def _region(model: onnx.ModelProto, plan: _Plan) -> tuple[IntegerRegion, list[onnx.NodeProto]]:
    """Return what runs on integers of fixed scales, and what is left to run dynamically.

    Either all matrix products are in the region or none: ONNX Runtime's dynamic quantiser splits
    every Gemm of a graph, those with fixed scales too.
    """
    region = integer_region(model, plan.static, plan.products)
    static = {node.name for node in region.layers}
    dynamic = [node for node in plan.dynamic if node.name not in static]
    if dynamic:
        return integer_region(model, plan.static, ()), plan.dynamic
    return region, []


def _plan(
    model: onnx.ModelProto, codes: Iterable[CodedWeight], excluded: Collection[str] = ()
) -> _Plan:
    codes = [code for code in codes if code.bits is not None]
    integers = IntegerRows(code for code in codes if code.activations is not None)
    floats = IntegerRows(code for code in codes if code.activations is None)
    constants = {t.name: array_of(t) for t in model.graph.initializer}
    plan = _Plan()
    as_floats: dict[str, IntegerWeight] = {}
    for name, constant in constants.items():
        found = integers.find(constant)
        if found is not None:
            plan.weights[name] = found
        elif (kept := floats.find(constant)) is not None:
            as_floats[name] = kept
    for node in model.graph.node:
        if node.name not in excluded:
            _assign(node, plan)
        for name in node.input:
            if name in as_floats:
                plan.floats[node.op_type].add(as_floats[name].bits)
    return plan


def _assign(node: onnx.NodeProto, plan: _Plan) -> None:
    """Decide how one node runs."""
    places = WEIGHT_INPUTS.get(node.op_type, (1,) if node.op_type == "Conv" else ())
    found = [plan.weights.get(node.input[place]) for place in places]
    weights = [weight for weight in found if weight is not None]
    known = bool(weights) and len(weights) == len(found)
    single = known and all(weight.scale.shape[1] == 1 for weight in weights)
    if single and node.op_type == "Conv" and not weights[0].transposed:
        plan.static.append(node)
    elif single and node.op_type in ("MatMul", "Gemm", "LSTM"):
        plan.dynamic.append(node)
    elif known and is_quantised_table(node, weights[0]):
        plan.tables.append(node)
    elif known and runs_in_blocks(node, weights[0]):
        plan.blocks.append(node)
    else:
        for name in node.input:
            if name in plan.weights:
                plan.floats[node.op_type].add(plan.weights[name].bits)


def _notes(floats: Mapping[str, set[int]]) -> Iterator[str]:
    for operator, widths in sorted(floats.items()):
        bits = ", ".join(map(str, sorted(widths)))
        yield f"weights of {bits} bits are packed, but {operator} runs as floats"


def integer_operators(model: onnx.ModelProto) -> int:
    """Return the number of layers of a graph that ONNX Runtime runs on integer weights."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    count = 0
    for node in model.graph.node:
        inputs = [makers.get(name) for name in node.input[:2]]
        static = node.op_type in ("Conv", "Gemm", "MatMul")
        count += (static and inputs == ["DequantizeLinear"] * 2) or node.op_type in (
            "MatMulInteger",
            "DynamicQuantizeLSTM",
            "MatMulNBits",
            "GatherBlockQuantized",
        )
    return count


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice to pre-process, which the exporter's graph does not need."""
    logger = logging.getLogger()
    disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = disabled
