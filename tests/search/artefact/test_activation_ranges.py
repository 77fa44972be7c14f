import numpy as np
import onnx
import pytest
from onnx import helper

from search.artefact.onnx_form.activation_ranges import Calibration, activation_ranges


def graph(operator="Relu"):
    node = helper.make_node(operator, ["input"], ["output"])
    values = [helper.make_tensor_value_info(n, 1, ["batch", 1000]) for n in ("input", "output")]
    made = helper.make_graph([node], "graph", values[:1], values[1:])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def ranges(values, method, steps=255):
    batches = [{"input": part} for part in np.array_split(values, 3)]
    calibration = Calibration(batches=batches, method=method)
    return activation_ranges(graph(), ["input", "output"], calibration, steps=steps)


def gaussian(outlier):
    values = np.random.default_rng(0).normal(size=(50, 1000)).astype(np.float32)
    values[17, 3] = outlier
    return values


def rounding_error(values, low, high, steps):
    scale = (high - low) / steps
    zero = np.rint(-low / scale)
    integers = np.clip(np.rint(values / scale) + zero, 0, steps)
    return np.square((integers - zero) * scale - values).sum()


def test_minmax_is_the_whole_range_with_zero_in_it():
    values = gaussian(40.0)
    found = ranges(values, "minmax")
    assert found["input"] == (values.min(), 40.0)
    assert found["output"] == (0.0, 40.0)
    assert ranges(np.abs(values) + 1, "minmax")["input"] == (0.0, 41.0)


def test_percentile_matches_numpy():
    values = gaussian(6.0)
    found = ranges(values, "percentile")
    low, high = found["input"]
    bin_width = float(values.max() - values.min()) / 2048
    assert high == pytest.approx(np.percentile(values, 99.99), abs=2 * bin_width)
    assert low == pytest.approx(np.percentile(values, 0.01), abs=2 * bin_width)
    assert found["output"][0] == 0


@pytest.mark.parametrize("steps", [255, 127])
@pytest.mark.parametrize("outlier", [5.0, 20.0])
def test_no_shrunk_range_has_a_smaller_squared_error(outlier, steps):
    values = gaussian(outlier)
    for name, exact in (("input", values), ("output", np.maximum(values, 0))):
        low, high = ranges(values, "mse", steps)[name]
        whole_low, whole_high = min(exact.min(), 0), exact.max()
        found = rounding_error(exact, low, high, steps)
        others = [
            rounding_error(exact, factor * whole_low, factor * whole_high, steps)
            for factor in np.linspace(0.2, 1, 81)
        ]
        assert found <= 1.02 * min(others)


def test_an_activation_that_is_always_zero_has_an_empty_range():
    for method in ("minmax", "percentile", "mse"):
        assert ranges(-np.abs(gaussian(1.0)), method)["output"] == (0.0, 0.0)


def test_the_graph_is_not_changed():
    model = graph()
    before = model.SerializeToString()
    calibration = Calibration(batches=[{"input": gaussian(1.0)}], method="mse")
    activation_ranges(model, ["output"], calibration)
    assert model.SerializeToString() == before
    assert isinstance(model, onnx.ModelProto)


def test_no_names_no_ranges():
    assert activation_ranges(graph(), [], Calibration(batches=[], method="minmax")) == {}
