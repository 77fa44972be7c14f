"""What a study may try next: initial trials, variations of the front, and the sampler's recipes.

A space and the trials so far come in; recipes with their parameters go out. Everything is derived
from the study's seed, so that a resumed study proposes what an uninterrupted one would.
"""

__all__ = [
    "initial_design",
    "samplers",
    "schedule",
]
