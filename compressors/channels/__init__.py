"""Channels of layers, hidden units and attention heads that can be cut out of a model.

A model and an example of its inputs come in; groups of channels that can only be cut together go
out, with how many of each to cut and the cut itself. `__all__` names the modules for other rooms.
"""

__all__ = [
    "attention",
    "counts",
    "cutting",
    "discovery",
    "group",
    "scoring",
    "verification",
    "width_attributes",
]
