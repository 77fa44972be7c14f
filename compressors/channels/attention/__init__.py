"""Heads of attention as channels: torch's own layer and attention that a model's code computes.

A model and an example of its inputs come in; attention that can lose heads, and the groups of
positions that go with each head, go out.
"""
