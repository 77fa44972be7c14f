"""How strong a recipe may be: found by measurement, from mild to strong.

A space, the damage of each step and the trials so far come in; the next recipes along each
direction go out, and a judgement of which recipes are worth a trial.
"""

__all__ = ["bearable", "bound", "damage", "directions", "path"]
