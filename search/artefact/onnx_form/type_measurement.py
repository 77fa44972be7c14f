"""Measure on this machine how fast and how exact each pair of 8-bit types is."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from search.artefact.onnx_form.export import OPSET
from search.artefact.onnx_form.runtime import open_session

Array = NDArray[Any]
Run = Callable[[], Array]
Types = Literal["U8S8", "U8U8", "S8S8"]
OUTPUT = "output"
TYPES: tuple[Types, ...] = ("U8S8", "U8U8", "S8S8")
"""Types of activations, then of weights."""
CHANNELS, PIXELS, ROUNDS = 64, 28, 15


def measure_types() -> dict[str, NDArray[Any]]:
    """Return `seconds` of operator and types `[2, 3]`, and whether types are `exact` `[3]`.

    The operators are a convolution and a matrix product; the seconds of what does not exist are
    infinite.
    """
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
    """Return activations and weights of the largest value, and their zero points."""
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
    """Return whether the largest sum, in the middle of the image, is correct."""
    result = run()
    return bool((result[0, :, PIXELS // 2, PIXELS // 2] == np.iinfo(result.dtype).max).all())


def _timed(runs: list[Run]) -> NDArray[np.float64]:
    """Return the median seconds `[n]` of n functions, timed in turns."""
    seconds = np.empty((ROUNDS, len(runs)))
    for run in runs:
        run()
    for number in range(ROUNDS):
        for place, run in enumerate(runs):
            start = time.thread_time()
            run()
            seconds[number, place] = time.thread_time() - start
    return np.median(seconds, axis=0)
