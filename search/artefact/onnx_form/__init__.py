"""The run form of an artefact: an ONNX file that ONNX Runtime executes without our code."""
