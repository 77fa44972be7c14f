"""The ship form of an artefact: the ONNX file without loss, in as few bytes as its values need.

The bytes of an ONNX file and the codes of its encoded weights come in; the bytes of the packed file
go out. `unpack.py` turns them back, and stands alone, so that it can travel with every export.
"""

__all__ = ["packing", "unpack"]
