"""Strategies of Hypothesis for what Paredown reads, writes and compares."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from compressors.weights.encoded import CodedWeight
from search.recipe.recipe import Recipe, Step
from search.recipe.space import NONE
from search.trial_record import TrialRecord

NAMES = st.from_regex(r"[a-z][\w-]{0,8}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | NUMBERS | st.text(max_size=9)
TARGETS = st.sampled_from(
    ["compressors.quantization.Quantization", "compressors.low_rank.LowRank", "my_package.Mine"]
)
DTYPES = ("float32", "float16", "float64", "int64", "int8", "uint8", "bool")
OBJECTIVES = {
    "score": "maximize",
    "size_bytes": "minimize",
    "latency_ratio": "minimize",
    "relative_drop": "minimize",
}


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Draw a recipe with values of every kind that a recipe.yaml holds."""
    patterns = st.dictionaries(st.text(max_size=9), NUMBERS | st.integers(), max_size=3)
    fields = st.dictionaries(NAMES, VALUES | patterns | st.lists(VALUES, max_size=3), max_size=5)
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    steps = [Step(name=name, target=draw(TARGETS), values=draw(fields)) for name in names]
    return Recipe(steps=tuple(steps), seed=draw(st.integers(0, 2**64 - 1)))


@st.composite
def float_ranges(draw: st.DrawFn, low: float, high: float, **more: Any) -> dict[str, Any]:
    """Draw the node of a range of floats inside two ends."""
    thousandths = st.integers(round(1000 * low), round(1000 * high)).map(lambda n: n / 1000)
    first, last = sorted(draw(st.tuples(thousandths, thousandths)))
    node: dict[str, Any] = {"_suggest_": "float", "low": first, "high": last}
    form = draw(st.sampled_from(["any", "stepped", "log"]))
    if form == "stepped":
        node["step"] = draw(st.sampled_from([0.001, 0.01, 0.05, 0.3, 1.0]))
    if form == "log" and node["low"] > 0:
        node["log"] = True
    if draw(st.booleans()):
        node["anchor"] = draw(thousandths)
    return node | more


@st.composite
def whole_ranges(draw: st.DrawFn, low: int, high: int, **more: Any) -> dict[str, Any]:
    """Draw the node of a range of whole numbers inside two ends."""
    first, last = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
    node: dict[str, Any] = {"_suggest_": "int", "low": first, "high": last}
    form = draw(st.sampled_from(["any", "stepped", "log"]))
    if form == "stepped":
        node["step"] = draw(st.integers(1, 5))
    if form == "log" and first > 0:
        node["log"] = True
    return node | more


def choice(*members: Any, **more: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Draw the node of a choice among some of the members."""
    some = st.lists(st.sampled_from(members), min_size=1, unique=True)
    return some.map(lambda chosen: {"_suggest_": "categorical", "choices": chosen, **more})


@st.composite
def spaces(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw the nodes `steps` and `choices` of a configuration that is accepted."""
    every = {
        "prune": {
            "_target_": "compressors.channel_pruning.ChannelPruning",
            "ratio": draw(float_ranges(0, 0.9)),
            "allocation": draw(choice("uniform", "global", "sensitivity", when="ratio")),
            "round_to": draw(whole_ranges(1, 16, when="ratio")),
        },
        "sparsify": {
            "_target_": "compressors.weight_pruning.WeightPruning",
            "importance": draw(choice("magnitude", "taylor", "wanda", when="ratio")),
            "ratio": draw(float_ranges(0, 0.98)),
        },
        "distil": {
            "_target_": "compressors.distillation.Distillation",
            "epochs": draw(whole_ranges(0, 20)),
            "temperature": draw(float_ranges(1, 8, when="epochs")),
        },
        "share": {
            "_target_": "compressors.weight_sharing.WeightSharing",
            "clusters": draw(whole_ranges(2, 256)),
        },
        "quantize": {
            "_target_": "compressors.quantization.Quantization",
            "bits": draw(choice(8, 6, 4, 2)),
            "symmetric": draw(choice(True, False, when="bits")),
        },
    }
    kept = draw(st.lists(st.sampled_from(list(every)), min_size=1, unique=True))
    steps = {name: node for name, node in every.items() if name in kept}
    return steps, {"encode": [*([NONE] if draw(st.booleans()) else []), "share", "quantize"]}


@st.composite
def tensors(draw: st.DrawFn) -> NDArray[Any]:
    """Draw a small tensor: any values, few different ones, or many zeros."""
    shape = draw(arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
    dtype = draw(st.sampled_from(DTYPES))
    form = draw(st.sampled_from(["any", "few", "sparse"]))
    if form == "any":
        return draw(arrays_of.arrays(dtype, shape))
    few = draw(arrays_of.arrays(dtype, 4))
    if form == "sparse":
        few[:3] = 0
    return few[draw(arrays_of.arrays("int64", shape, elements=st.integers(0, 3)))]


@st.composite
def coded_weights(draw: st.DrawFn) -> CodedWeight:
    """Draw a code of a weight `[R, N]` with scales for groups of each row."""
    rows, columns, bits = draw(st.tuples(*map(st.integers, (1, 1, 2), (6, 12, 8))))
    group = draw(st.integers(1, columns))
    scales = (rows, -(-columns // group))
    width = st.floats(-100, 100, width=32)
    whole = st.integers(-8, 8).map(float)
    indices = arrays_of.arrays("int64", (rows, columns), elements=st.integers(0, 2**bits - 1))
    return CodedWeight(
        indices=draw(indices),
        levels=np.arange(2**bits, dtype=np.float32),
        offset=draw(arrays_of.arrays("float32", scales, elements=width | whole)),
        factor=draw(arrays_of.arrays("float32", scales, elements=width)),
        group=group,
        bits=bits,
        shape=(rows, columns),
    )


@st.composite
def trial_records(draw: st.DrawFn) -> list[TrialRecord]:
    """Draw the trials of a study after its baseline; many are equal, dominated or failed."""
    count = draw(st.integers(0, 20))
    return [BASELINE, *(draw(_trial(number)) for number in range(1, count + 1))]


@st.composite
def _trial(draw: st.DrawFn, number: int) -> TrialRecord:
    status = draw(st.sampled_from(["ok", "ok", "ok", "error", "oom", "stopped"]))
    metrics = {
        "score": 0.85 + 0.05 * draw(st.integers(0, 3)),
        "size_bytes": 100.0 * draw(st.integers(1, 5)),
        "latency_ratio": 0.25 * draw(st.integers(1, 4)),
        "relative_drop": 0.04 * draw(st.integers(-1, 3)),
    }
    bound = draw(st.sampled_from([-1.0, 0.0, 0.5]))
    return _record(number, metrics if status == "ok" else {}, status, bound)


def _record(
    number: int, metrics: dict[str, float], status: str, bound: float | None
) -> TrialRecord:
    return TrialRecord(
        number=number,
        status=status,
        origin="sampled" if number else "baseline",
        seed=0,
        params={},
        recipe={},
        recipe_hash=str(number),
        metrics=metrics,
        violations={} if bound is None or status != "ok" else {"bound": bound},
        started=0.0,
        finished=1.0,
    )


BASELINE = _record(
    0,
    {"score": 0.95, "size_bytes": 500.0, "latency_ratio": 1.0, "relative_drop": 0.0},
    "ok",
    None,
)
