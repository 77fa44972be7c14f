"""Rewrites of an ONNX graph in floats that leave what it computes.

A graph comes in; one in canonical form goes out: batch-normalisations folded, units in the order
that packs best, equal tensors stored once, guards of attention out of its way.
"""
