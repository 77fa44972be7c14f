"""Training of a model: the loop, its precision and layout, the matching of features, a way back.

A model and its batches come in; the model is trained in place and ends in eval mode.
"""

__all__ = ["feature_matching", "loop", "precision", "stepping_back"]
