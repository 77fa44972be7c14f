"""Channels followed by labels: each position of a weight has a number that travels with its values.

A model and an example of its inputs come in; groups of channels that the operations of one run
couple go out, as candidates that still have to be verified. `__all__` names the modules for others.
"""

__all__ = ["candidates"]
