import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from search.artefact.onnx_form.shared_tensors import share_tensors


def graph_of(tensors):
    """A graph that returns the sum of each of its constants."""
    nodes = [helper.make_node("ReduceSum", [name], [f"{name}.sum"], keepdims=0) for name in tensors]
    outputs = [
        helper.make_tensor_value_info(
            f"{name}.sum", helper.np_dtype_to_tensor_dtype(tensor.dtype), []
        )
        for name, tensor in tensors.items()
    ]
    stored = [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()]
    graph = helper.make_graph(nodes, "g", [], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def constants(model):
    """The values under the names of the original constants, computed by ONNX's reference."""
    kept = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        source = kept.get(node.input[0])
        if node.op_type == "Transpose":
            kept[node.output[0]] = source.T
        elif node.op_type == "Reshape":
            kept[node.output[0]] = source.reshape(kept[node.input[1]])
        elif node.op_type == "Identity":
            kept[node.output[0]] = source
    return kept


def test_a_repeated_tensor_is_stored_once_and_keeps_its_values():
    table = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    tensors = {
        "table": table,
        "same": table.copy(),
        "turned": np.ascontiguousarray(table.T),
        "blocks": table.reshape(20, 5, 6),
        "turned blocks": np.ascontiguousarray(table.T).reshape(30, 5, 4),
        "other": table + 1,
        "bits": table.view(np.int32),
        "small": table[:2],
        "small again": table[:2].copy(),
    }
    model = graph_of(tensors)
    shared = share_tensors(model)
    kept = {t.name for t in shared.graph.initializer if t.name in tensors}
    assert kept == {"table", "turned blocks", "other", "bits", "small", "small again"}
    found = constants(shared)
    assert all(np.array_equal(found[name], tensor) for name, tensor in tensors.items())
    sessions = [onnxruntime.InferenceSession(m.SerializeToString()) for m in (model, shared)]
    for before, after in zip(*(session.run(None, {}) for session in sessions), strict=True):
        assert before.dtype == after.dtype
        assert np.isclose(before, after)


def test_a_graph_without_repetition_stays():
    model = graph_of({"a": np.arange(600, dtype=np.int64), "b": np.arange(600.0)})
    onnx.checker.check_model(share_tensors(model))
    assert share_tensors(model) == model
