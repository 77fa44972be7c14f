"""Which 8-bit types this machine computes with fastest, measured once."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from search.artefact.onnx_form.export import OPSET, OUTPUT
from search.artefact.onnx_form.runtime import open_session
from search.utils.array_cache import ArrayCache
from search.utils.files import cache_folder

Array = NDArray[Any]
Run = Callable[[], Array]
Types = Literal["U8S8", "U8U8", "S8S8"]
TYPES: tuple[Types, ...] = ("U8S8", "U8U8", "S8S8")
"""Activations first, then weights."""
CHANNELS, PIXELS, ROUNDS = 64, 28, 15
WORTH_HEADROOM = 1.15
"""Half of the activations' steps are given up only for a gain in speed above this."""


@dataclass(frozen=True, kw_only=True)
class IntegerTypes:
    """What was measured: the seconds of a convolution and of a matrix product, and their errors.

    A CPU without VNNI adds products of unsigned and signed integers up in pairs, in 16 bits, which
    saturate where both are large: such a type is not exact.
    """

    convolution_seconds: Mapping[Types, float]
    product_seconds: Mapping[Types, float]
    """Without S8S8, since activations that are rounded at run time are unsigned."""
    exact: Mapping[Types, bool]

    def convolution(self, *, narrow: bool) -> Types:
        """Return the types for a convolution, whose weights may be narrow, see IntegerWeight.

        U8S8 may be the answer where it is not exact: the activations then need headroom.
        """
        seconds = {t: s for t, s in self.convolution_seconds.items() if self.exact[t] or narrow}
        best = min(seconds, key=lambda t: seconds[t]) if seconds else "U8S8"
        gain = self.convolution_seconds[best] / self.convolution_seconds["U8S8"]
        return "U8S8" if gain > WORTH_HEADROOM else best

    def product(self, *, narrow: bool) -> Types:
        """Return the types for a product whose activations are rounded at run time."""
        if not (narrow or self.exact["U8S8"]):
            return "U8U8"
        return min(self.product_seconds, key=lambda t: self.product_seconds[t])

    def needs_headroom(self, types: Types, *, narrow: bool) -> bool:
        """Return whether activations may only use half of their steps with these types."""
        return not (narrow or self.exact[types])


@cache
def integer_types() -> IntegerTypes:
    """Return what was measured on this machine: now, or earlier by any process of the user's.

    It is kept in the user's cache folder by the CPU's name and features and the version of ONNX
    Runtime, so that a model always gives the same file on one machine. A file written where
    nothing saturates may lose accuracy on a CPU without VNNI: export where the model will run.
    """
    key = f"integer types {cpu_name()} {onnxruntime.__version__}"
    found = ArrayCache(folder=cache_folder() / "machine").get(key, _measure)
    seconds, exact = found["seconds"], found["exact"]
    return IntegerTypes(
        convolution_seconds={t: float(s) for t, s in zip(TYPES, seconds[0], strict=True)},
        product_seconds={t: float(s) for t, s in zip(TYPES[:2], seconds[1], strict=False)},
        exact={t: bool(e) for t, e in zip(TYPES, exact, strict=True)},
    )


def cpu_name() -> str:
    """Return the CPU's name and features as Linux tells them, else what Python knows of it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    told = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    parts = [told.get(name, "") for name in ("model name", "flags", "Features")]
    return " ".join([platform.machine(), platform.processor(), *parts])


def _measure() -> dict[str, NDArray[Any]]:
    """Return seconds `[2, 3]` of both operators by types, and which types are exact `[3]`."""
    convolutions = [_convolution(types) for types in TYPES]
    products = [_product(types) for types in TYPES[:2]]
    seconds = np.full((2, len(TYPES)), np.inf)
    seconds[0] = _timed(convolutions)
    seconds[1, :2] = _timed(products)
    return {"seconds": seconds, "exact": np.array([_is_exact(run) for run in convolutions])}


def _operator(node: onnx.NodeProto, constants: Mapping[str, Any], data: Array) -> Run:
    """Return a function that runs a graph of one operator on `data` and returns its output."""
    kind = helper.np_dtype_to_tensor_dtype(data.dtype)
    result = TensorProto.INT32 if node.op_type == "MatMulInteger" else kind
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    inputs = [helper.make_tensor_value_info("x", kind, data.shape)]
    outputs = [helper.make_tensor_value_info(OUTPUT, result, None)]
    graph = helper.make_graph([node], "one", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "one.onnx"
        onnx.save(model, path)
        session = open_session(path)
    return lambda: session.run([OUTPUT], {"x": data})[0]


def _arrays(types: Types, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[Array, Array, Any, Any]:
    """Return activations and weights, all as large as can be, and their zero points."""
    signed = [letter == "S" for letter in (types[0], types[2])]
    kinds = [np.int8 if s else np.uint8 for s in signed]
    x_zero = np.int8(-128) if signed[0] else np.uint8(0)
    w_zero = np.int8(0) if signed[1] else np.uint8(128)
    data, weight = (np.full(s, np.iinfo(k).max, k) for s, k in zip((x, w), kinds, strict=True))
    return data, weight, x_zero, w_zero


def _convolution(types: Types) -> Run:
    shape = (1, CHANNELS, PIXELS, PIXELS)
    data, weight, x_zero, w_zero = _arrays(types, shape, (CHANNELS, CHANNELS, 3, 3))
    one = np.float32(1)
    largest = np.float32(CHANNELS * 9 * 127)  # of 255 steps: the sums of 255 * 127
    names = ["x", "one", "x_zero", "w", "scales", "w_zero", "y_scale", "x_zero"]
    node = helper.make_node("QLinearConv", names, [OUTPUT], pads=[1, 1, 1, 1])
    constants = {"one": one, "x_zero": x_zero, "w": weight, "y_scale": largest}
    constants |= {"scales": np.ones(CHANNELS, np.float32), "w_zero": np.full(CHANNELS, w_zero)}
    return _operator(node, constants, data)


def _product(types: Types) -> Run:
    data, weight, x_zero, w_zero = _arrays(types, (16, 512), (512, 512))
    node = helper.make_node("MatMulInteger", ["x", "w", "x_zero", "w_zero"], [OUTPUT])
    return _operator(node, {"w": weight, "x_zero": x_zero, "w_zero": w_zero}, data)


def _is_exact(run: Run) -> bool:
    """Return whether the largest sum, in the middle of the image, comes out as it should."""
    result = run()
    return bool((result[0, :, PIXELS // 2, PIXELS // 2] == np.iinfo(result.dtype).max).all())


def _timed(runs: list[Run]) -> NDArray[np.float64]:
    """Return the median seconds of each, all timed in turns."""
    seconds = np.empty((ROUNDS, len(runs)))
    for run in runs:
        run()
    for number in range(ROUNDS):
        for place, run in enumerate(runs):
            start = time.thread_time()
            run()
            seconds[number, place] = time.thread_time() - start
    return np.median(seconds, axis=0)
