import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from search.artefact.onnx_form.rewriting.shared_tensors import share_tensors


def graph_of(tensors):
    """A graph that returns the sum of each of its constants."""
    double = onnx.TensorProto.DOUBLE
    nodes = [
        node
        for name in tensors
        for node in (
            helper.make_node("Cast", [name], [f"{name}.cast"], to=double),
            helper.make_node("ReduceSum", [f"{name}.cast"], [f"{name}.sum"], keepdims=0),
        )
    ]
    outputs = [helper.make_tensor_value_info(f"{name}.sum", double, []) for name in tensors]
    stored = [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()]
    graph = helper.make_graph(nodes, "g", [], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def constants(model, names):
    """The values under the names of the original constants, as ONNX's reference computes them."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    made = {name for node in model.graph.node for name in node.output}
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    del probe.graph.output[:]
    wanted = [name for name in names if name in made]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    return stored | dict(zip(wanted, ReferenceEvaluator(probe).run(wanted, {}), strict=True))


def test_a_repeated_tensor_is_stored_once_and_keeps_its_values():
    table = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    signed = np.random.default_rng(1).integers(-128, 128, (40, 50)).astype(np.int16)
    tensors = {
        "table": table,
        "same": table.copy(),
        "turned": np.ascontiguousarray(table.T),
        "blocks": table.reshape(20, 5, 6),
        "turned blocks": np.ascontiguousarray(table.T).reshape(30, 5, 4),
        "other": table + 1,
        "signed": signed.astype(np.int8),
        "unsigned": (signed + 128).astype(np.uint8),
        "unsigned, turned": np.ascontiguousarray((signed.T + 128).astype(np.uint8)),
        "bits": table.view(np.int32),
        "small": table[:2],
        "small again": table[:2].copy(),
    }
    model = graph_of(tensors)
    shared = share_tensors(model)
    kept = {t.name for t in shared.graph.initializer if t.name in tensors}
    assert kept == {*("table", "turned blocks", "other", "signed", "bits", "small", "small again")}
    found = constants(shared, tensors)
    for name, tensor in tensors.items():
        assert np.array_equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    session = onnxruntime.InferenceSession(shared.SerializeToString())
    for value, tensor in zip(session.run(None, {}), tensors.values(), strict=True):
        assert np.isclose(value, tensor.astype(float).sum(), rtol=1e-4)


def test_a_graph_without_repetition_stays():
    model = graph_of({"a": np.arange(600, dtype=np.int64), "b": np.arange(600.0)})
    onnx.checker.check_model(share_tensors(model))
    assert share_tensors(model) == model
