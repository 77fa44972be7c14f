"""What nearly every trial imports, loaded once into the server that trials are forked from."""

import onnxruntime.quantization
import sklearn.cluster
import sklearn.model_selection
import torch._dynamo
import torch_pruning

import search.trial

LOADED = (onnxruntime.quantization, sklearn, torch._dynamo, torch_pruning, search.trial)
