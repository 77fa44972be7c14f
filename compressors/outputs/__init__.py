"""What a model returns: named tensors in any structure, and what the distilled one means.

The outputs of a model come in, whatever structure they have. Out go their tensors by name, the same
structure with other tensors, and how far two outputs are apart, by what the numbers mean.
"""

__all__ = ["divergence", "guess", "spec", "structure"]
