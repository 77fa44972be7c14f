"""Digests that tell whether two models are the same."""

from hashlib import sha256
from types import NoneType

import torch
from torch import Tensor, nn

from compressors.base import Inputs, output_tensors, run
from compressors.models.calibration import few
from compressors.weights.masks import Schedule

PLAIN_TYPES = (bool, int, float, str, tuple, NoneType, Schedule)
"""Types of a module's attributes that count as its structure."""
MAX_OUTPUT_VALUES = 64
"""Number of values of each output tensor that a digest covers."""


def fingerprint(model: nn.Module) -> str:
    """Return a digest of a model's weights and buffers."""
    digest = sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(content(tensor))
    return digest.hexdigest()


def structure_digest(model: nn.Module) -> str:
    """Return a digest of weights, buffers and the plain values that modules hold beside them.

    It distinguishes what a fingerprint does not: how a quantiser treats activations, for example,
    or whether a mask is still to close.
    """
    digest = sha256(fingerprint(model).encode())
    for path, module in model.named_modules():
        values = {n: repr(v) for n, v in vars(module).items() if isinstance(v, PLAIN_TYPES)}
        digest.update(f"{path} {type(module).__name__} {sorted(values.items())}".encode())
        for name, buffer in module.named_buffers(recurse=False):
            digest.update(name.encode())
            digest.update(content(buffer))
    return digest.hexdigest()


def output_digest(model: nn.Module, inputs: Inputs) -> str:
    """Return a digest of a model's weights, structure and first outputs on a batch `[B, ...]`.

    It distinguishes models that hold the same weights and use them differently. Outputs count to
    three digits, since other kernels sum in another order; where that does not suffice, the same
    model has two digests.
    """
    digest = sha256(f"{fingerprint(model)} {model!r}".encode())
    with torch.no_grad():
        for output in output_tensors(run(model, few(inputs))):
            values = output.flatten()[:MAX_OUTPUT_VALUES].tolist()
            digest.update(" ".join(f"{value:.2e}" for value in values).encode())
    return digest.hexdigest()


def content(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor of any shape, not copied if on the CPU and contiguous."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
