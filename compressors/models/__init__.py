"""Operations on whole models that every method shares: copy, run, watch, measure, identify.

A model comes in, often with a task or a batch of inputs; a copy, outputs, a digest or renewed
batch-norm statistics go out. `__all__` names the modules for other rooms.
"""

__all__ = [
    "batch_norm",
    "calibration",
    "computed",
    "constant_channels",
    "copying",
    "decoding_cache",
    "fingerprint",
    "folded_weights",
    "fused_attention",
    "hooks",
    "plain",
    "plain_layers",
    "replacing",
    "small_batches",
    "trainable",
    "unwrapping",
]
