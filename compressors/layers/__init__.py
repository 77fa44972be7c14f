"""Whole layers and blocks: which can be removed, and which can be replaced by two of low rank.

A model and an example of its inputs come in; removable blocks, factorisable layers, their factors
and ranks go out. `__all__` names the modules for other rooms.
"""

__all__ = [
    "cache_slots",
    "factorisable",
    "factors",
    "pass_through",
    "ranks",
    "removable",
]
