"""What nearly every trial imports, loaded once into the server that trials are forked from."""

import gc

from search.utils.interruption import ended_with_parent

# It takes seconds, in which the server does not look whether its driver still runs.
with ended_with_parent():
    import onnxruntime.quantization
    import scipy.optimize
    import sklearn.cluster
    import sklearn.datasets
    import sklearn.model_selection
    import torch._dynamo
    import torch_pruning

    import compressors.channel_pruning
    import compressors.distillation
    import compressors.layer_removal
    import compressors.low_rank
    import compressors.quantization
    import compressors.weight_pruning
    import compressors.weight_sharing
    import search.trial.jobs

LOADED = (
    onnxruntime.quantization,
    scipy.optimize,
    sklearn,
    torch._dynamo,
    torch_pruning,
    compressors,
    search.trial.jobs,
)

# All of it lives as long as its process. Without this every trial looks through it for garbage,
# which takes a third of a second and copies its memory.
gc.freeze()
