"""The weights of a model: which can be compressed, and the masks, grids and codebooks on them.

A model comes in. Parametrisations are put on its weights in place, stay exact while it is trained,
and go out as `CodedWeight`, the form in which an artefact stores them.
"""

__all__ = [
    "biases",
    "codebook",
    "compressible",
    "encoded",
    "in_use",
    "masks",
    "ranking",
    "uniform_quantizer",
]
