"""The run form of an artefact: an ONNX file that ONNX Runtime executes without our code.

A model with plain weights and the codes of its encoded weights come in; a canonical ONNX graph,
with integer operators where weights are quantised, goes out.
"""

__all__ = ["bit_operations", "export", "integer_types", "runtime"]
