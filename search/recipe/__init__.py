"""Recipes and the space of recipes: what may be tried, and which part of it is trained at a rung.

The nodes `steps` and `choices` of a configuration or a recipe.yaml come in; spaces, recipes and the
parameters of recipes go out. Imports no torch; only building a compressor does.
"""

__all__ = [
    "parsing",
    "ranges",
    "recipe",
    "rungs",
    "space",
    "step_values",
    "validation",
]
