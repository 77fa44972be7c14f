"""The comparison of trials: front, hypervolume, ranking at a rung, choice of one trial.

Trial records and objectives come in; fronts, volumes, ranks and single trials go out.
"""

__all__ = [
    "archive",
    "bounds",
    "front",
    "hypervolume",
    "ranking",
    "selection",
    "stagnation",
]
