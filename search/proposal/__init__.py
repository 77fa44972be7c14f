"""What a study tries next: initial trials, the path, variations of the front, samples.

A space and the trials so far come in; recipes with their parameters go out. Everything is derived
from the study's seed, so that a resumed study proposes what an uninterrupted one would.
"""

__all__ = ["acting_steps", "costs", "initial_design", "plan", "samplers", "schedule", "strength"]
