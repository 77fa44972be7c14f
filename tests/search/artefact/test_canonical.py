"""The canonical form of a graph computes the same to the bit and holds nothing else."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.rewriting.canonical import canonical
from tests.search.artefact.graphs import exported
from tests.zoo import NETS, toy_task


def run(model, inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)


@pytest.mark.parametrize("net", NETS)
def test_the_graph_computes_the_same_and_is_smaller(net):
    task = toy_task(net)
    model = exported(task.baseline, task.example)
    lean = canonical(model)
    onnx.checker.check_model(lean)
    inputs = feeds(task.example)
    for found, wanted in zip(run(lean, inputs), run(model, inputs), strict=True):
        assert np.array_equal(found, wanted)
    assert lean.ByteSize() < model.ByteSize()
    assert [value.name for value in lean.graph.input] == [v.name for v in model.graph.input]
    assert [value.name for value in lean.graph.output] == [v.name for v in model.graph.output]


@pytest.mark.parametrize("net", NETS)
def test_the_canonical_form_is_its_own(net):
    task = toy_task(net)
    lean = canonical(exported(task.baseline, task.example))
    assert canonical(lean) == lean


def test_names_and_descriptions_make_no_difference():
    def graph(name, producer):
        nodes = [
            helper.make_node("Gemm", ["x", f"{name}.w"], [f"{name}.y"], name=name, alpha=1.0),
            helper.make_node("Relu", [f"{name}.y"], ["out"], name=f"{name}/relu"),
        ]
        weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), f"{name}.w")
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in ("x", "out")]
        graph = helper.make_graph(nodes, name, ends[:1], ends[1:], [weight], doc_string=name)
        return helper.make_model(graph, producer_name=producer)

    first, second = canonical(graph("one", "here")), canonical(graph("another", "there"))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert [t.name for t in first.graph.initializer] == ["a"]


def test_graphs_within_nodes_still_find_their_values():
    boolean = helper.make_tensor_value_info("a", TensorProto.BOOL, [])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    branches = {}
    for name, operator in (("then_branch", "Neg"), ("else_branch", "Abs")):
        inner = helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, [2])
        node = helper.make_node(operator, ["weight"], [f"{name}.y"])
        branches[name] = helper.make_graph([node], name, [], [inner])
    weight = numpy_helper.from_array(np.array([1, -2], np.float32), "weight")
    node = helper.make_node("If", ["a"], ["out"], **branches)
    model = helper.make_model(helper.make_graph([node], "g", [boolean], [out], [weight]))
    model.ir_version = 8
    model.opset_import[0].version = 17
    for value in (True, False):
        inputs = {"a": np.array(value)}
        assert np.array_equal(run(canonical(model), inputs)[0], run(model, inputs)[0])
