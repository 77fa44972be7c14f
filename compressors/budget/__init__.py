"""How a budget is divided among the layers of a model, by measured importance and sensitivity.

A model and its calibration data come in. Scores of weights, the divergence that a change causes and
the level of each layer under one budget go out.
"""

__all__ = ["importance", "knapsack", "level_allocation", "per_layer", "sensitivity"]
